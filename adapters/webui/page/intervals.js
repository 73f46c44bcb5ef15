// How much changed when.
import { get } from "./api.js";

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

const pageSize = 1000;
const mostPages = 10;

/**
 * The number of changes in each of n parts of a time, the oldest part first. Where there are more than 10,000 changes, the
 * newest 10,000 are counted.
 * @param {string} ns
 * @param {number} from ms
 * @param {number} to ms
 * @param {number} n
 */
export async function histogram(ns, from, to, n) {
  const counts = new Array(n).fill(0);
  for await (const e of entries("/v1/history", { ns }, from, to)) {
    const at = Math.floor((n * (Date.parse(e.recorded_at) - from)) / (to - from));
    if (at >= 0 && at < n) counts[at]++;
  }
  return counts;
}

/**
 * The entries of a time, the newest first.
 * @param {string} path
 * @param {import("./api.js").Parameters} parameters
 * @param {number} from ms
 * @param {number} to ms
 * @returns {AsyncGenerator<import("./fleet.js").Entry>}
 */
export async function* entries(path, parameters, from, to) {
  let cursor = "";
  const end = to >= Date.now() ? "" : new Date(to).toISOString(); // a moment that is still to come is refused
  for (let n = 0; n < mostPages; n++) {
    const page = await get(path, { ...parameters, from: new Date(from).toISOString(), to: end, limit: pageSize, cursor });
    yield* page.entries;
    cursor = page.next ?? "";
    if (!cursor) return;
  }
}
