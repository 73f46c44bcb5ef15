// How much changed when, and which states instances went through.
import { get, instancePath, refused } from "./api.js";

/** The spans of the slider: names and minutes. @type {[string, number][]} */
export const spans = [["5 min", 5], ["15 min", 15], ["1 h", 60], ["6 h", 360], ["1 day", 1440], ["7 days", 10080], ["30 days", 43200]];

/** @type {Promise<number> | undefined} */
let usual;

/** The span in minutes where none is chosen: an hour, or less where all that happened is younger. */
export function usualSpan() {
  usual ??= get("/v1/history", { ns: "*", order: "oldest", limit: 1 }).then((page) => {
    const age = page.entries.length ? (Date.now() - Date.parse(page.entries[0].recorded_at)) / 60000 : 0;
    return Math.min(60, spans.find(([, n]) => n > age)?.[1] ?? 60);
  }, () => 60);
  return usual;
}

/**
 * @param {number | string} from ms, or as the API gave it
 * @param {number} to ms
 */
const within = (from, to) => ({ from: typeof from === "string" ? from : new Date(from).toISOString(), to: to >= Date.now() ? "" : new Date(to).toISOString() }); // a moment that is still to come is refused

/**
 * The number of changes in each of n parts of a time, the oldest part first.
 * @param {string} ns
 * @param {number} from ms
 * @param {number} to ms
 * @param {number} n
 */
export async function histogram(ns, from, to, n) {
  const counts = new Array(n).fill(0);
  const add = (/** @type {number} */ time, /** @type {number} */ number) => {
    const at = Math.floor((n * (time - from)) / (to - from));
    if (at >= 0 && at < n) counts[at] += number;
  };
  try {
    const reply = await get("/v1/histogram", { ns, ...within(from, to), buckets: n });
    const half = (Date.parse(reply.to) - Date.parse(reply.from)) / n / 2; // the reply begins with the first event of all
    const begins = reply.buckets.map((/** @type {string} */ t) => Date.parse(t) + half);
    for (const numbers of /** @type {number[][]} */ (Object.values(reply.types))) numbers.forEach((number, i) => number && add(begins[i], number));
  } catch (err) {
    if (!refused(err)) throw err;
    const page = await get("/v1/history", { ns, ...within(from, to), limit: 1000 }); // of what the caller may see: the newest changes
    for (const e of page.entries) add(Date.parse(e.recorded_at), 1);
  }
  return counts;
}

/**
 * @typedef {{id: string, from: number, to: number, state: string, epoch: number, owner: string, why: string, ended: string}} Interval
 * to is Infinity where the state goes on
 * @typedef {{summary: string, actor?: string}} Cause
 */

const mostReplies = 20, perReply = 10_000;

/** The states that the instances of a service went through, by the id of the instance. */
export class Timeline {
  /** @type {Map<string, Interval[]>} */
  lanes = new Map();
  /** Up to when the lanes are complete, as the API gave it; "": nothing was read. */
  complete = "";

  /**
   * @param {string} namespace
   * @param {string} service
   */
  constructor(namespace, service) {
    this.ns = namespace;
    this.path = instancePath({ namespace, service }).replace("/v1/", "/v1/timeline/");
  }

  /**
   * Reads what is after what is there, or from a time on. The result is whether all was read up to the end.
   * @param {number} from ms
   * @param {number} to ms
   * @param {AbortSignal} signal
   * @param {() => void} [progress] is called when a part is there
   */
  async read(from, to, signal, progress) {
    for (let n = 0; n < mostReplies; n++) {
      const reply = await get(this.path, { ns: this.ns, ...within(this.complete || from, to), limit: perReply }, signal);
      for (const { id, intervals } of reply.lanes) this.#add(id, intervals);
      this.complete = reply.complete_to;
      if (Date.parse(reply.complete_to) >= Date.parse(reply.to)) return true;
      progress?.();
    }
    return false;
  }

  /**
   * @param {string} id
   * @param {{from: string, to: string, status: string, traffic: string, epoch: number, owner?: string, began?: Cause, ended?: Cause}[]} intervals
   */
  #add(id, intervals) {
    const lane = this.lanes.get(id) ?? [];
    this.lanes.set(id, lane);
    for (const i of intervals) {
      const last = lane.at(-1);
      const to = i.ended ? Date.parse(i.to) : Infinity;
      if (!i.began && last && last.to === Infinity) {
        last.to = to; // the reply before ended within it
        last.ended = told(i.ended);
      } else {
        lane.push({ id, from: Date.parse(i.from), to, state: i.traffic === "serving" ? i.status : i.traffic, epoch: i.epoch, owner: i.owner ?? "", why: told(i.began), ended: told(i.ended) });
      }
    }
  }

  /** Forgets what was over before a time in ms. @param {number} time */
  forget(time) {
    for (const [id, lane] of this.lanes) {
      const first = lane.findIndex((i) => i.to > time);
      if (first < 0) this.lanes.delete(id);
      else if (first > 0) lane.splice(0, first);
    }
  }
}

/** @param {Cause | undefined} cause */
function told(cause) {
  return cause ? `${cause.summary}${cause.actor ? ` (by ${cause.actor})` : ""}` : "";
}
