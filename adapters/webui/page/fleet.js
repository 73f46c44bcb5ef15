// The fleet as the page shows it: live by a stream of changes, or as it was at a moment.
import { aborted, get, Problem, stream, words } from "./api.js";

/**
 * @typedef {{namespace: string, service: string, id: string, address: string, ports?: Record<string, number>, tags?: string[],
 *   metadata?: Record<string, string>, zone?: string, version?: string, weight: number, status: string, ttl?: string,
 *   traffic: string, maintenance?: {by?: string, at?: string, reason?: string}, epoch: number, owner?: string, revision: number,
 *   registered_at: string, changed_at: string, lease_expires_at?: string, lapsed_at?: string, reported?: string,
 *   checks?: Check[], on_lapse?: string, remove_after?: string}} Instance
 * @typedef {{id: string, name?: string, kind: string, status: string, since: string, output?: string, by?: string, target?: string,
 *   interval?: string, flapping?: boolean, lapses_at?: string, next_look?: string, looked_by?: string}} Check
 * @typedef {{event_id?: string, position: string, recorded_at: string, namespace?: string, service?: string, id?: string, type: string,
 *   summary: string, actor?: string, source?: string, via?: string, request_id?: string, leaf?: number, data?: any,
 *   changes?: {field: string, from: any, to: any}[]}} Entry
 * @typedef {"loading" | "live" | "cut" | "past" | "failed"} State
 */

/** @param {{namespace: string, service: string, id: string}} i */
export const keyOf = (i) => `${i.namespace}/${i.service}/${i.id}`;

/**
 * What an instance counts as: what an operator or a deploy decided goes before its status.
 * @param {Instance} i
 */
export const stateOf = (i) => (i.traffic === "serving" ? i.status : i.traffic);

/** In the order of bars and legends. */
export const states = ["passing", "warning", "critical", "starting", "draining", "maintenance"];

const newest = 200; // changes that are kept

/** The events "change" (of the fleet) and "state" (of the connection) tell of news. */
export class Fleet extends EventTarget {
  /** @type {Map<string, Instance>} */
  instances = new Map();
  /** The newest changes that came while the page was open, newest first. @type {Entry[]} */
  changes = [];
  /** @type {State} */
  state = "loading";
  problem = ""; // why the state is cut or failed
  /** When the fleet was last known to be right. */
  heard = 0;
  position = "";
  #namespace = "*";
  #at = "";
  /** @type {AbortController | undefined} */
  #running;
  #shown = false;

  /**
   * Shows a namespace ("*": all) at a moment ("": live).
   * @param {string} namespace
   * @param {string} at
   */
  show(namespace, at) {
    if (this.#shown && namespace === this.#namespace && at === this.#at) return;
    const other = namespace !== this.#namespace;
    const wasLive = this.#at === "";
    this.#shown = true;
    this.#namespace = namespace;
    this.#at = at;
    if (other || wasLive) this.#running?.abort();
    if (other) {
      this.instances = new Map();
      this.changes = [];
    }
    if (at === "") {
      this.#running?.abort();
      this.#running = new AbortController();
      this.#become("loading");
      this.#follow(this.#running.signal);
    } else if (!this.#asking) this.#past();
  }

  /** Begins anew, with the rights of now. */
  again() {
    this.#running?.abort();
    this.#shown = false;
    this.instances = new Map();
    this.show(this.#namespace, this.#at);
  }

  /**
   * @param {State} state
   * @param {string} [problem]
   */
  #become(state, problem = "") {
    if (this.state === state && this.problem === problem) return;
    this.state = state;
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }

  #asking = false;

  /** Asks for the moment that is wanted, and again while another is wanted by then: one question at a time. */
  async #past() {
    this.#asking = true;
    this.#running = new AbortController();
    const { signal } = this.#running;
    while (this.#at !== "" && !signal.aborted) {
      const at = this.#at, namespace = this.#namespace;
      try {
        const catalog = await get("/v1/catalog", { ns: namespace, at }, signal);
        if (this.#at === "" || signal.aborted) break;
        this.#replace(catalog);
        this.#become("past");
      } catch (err) {
        if (aborted(err)) break;
        this.instances = new Map();
        this.#become("failed", words(err));
        this.dispatchEvent(new Event("change"));
      }
      if (at === this.#at && namespace === this.#namespace) break;
    }
    this.#asking = false;
    if (signal.aborted && this.#at !== "") this.#past();
  }

  /** @param {{position: string, services: {instances: Instance[]}[]}} catalog */
  #replace(catalog) {
    const all = new Map();
    for (const service of catalog.services) for (const i of service.instances) all.set(keyOf(i), i);
    this.instances = all;
    this.position = catalog.position;
    this.heard = Date.now();
    this.dispatchEvent(new Event("change"));
  }

  /** Follows the changes, and resumes after each break. @param {AbortSignal} signal */
  async #follow(signal) {
    let lastID = "";
    let pause = 250;
    while (!signal.aborted) {
      try {
        await stream("/v1/streams/catalog", { ns: this.#namespace }, lastID, signal, {
          open: () => {
            pause = 250;
            if (lastID) this.#become("live");
          },
          event: (name, data, id) => {
            lastID = id || lastID;
            if (signal.aborted) return;
            if (name === "snapshot" || name === "reset") this.#replace(data);
            else if (name === "change") this.#apply(data);
            if (name !== "cut") this.#become("live");
          },
        });
        this.#become("cut", "the stream ended");
      } catch (err) {
        if (aborted(err) || signal.aborted) return;
        if (err instanceof Problem && err.status >= 400 && err.status < 500 && err.status !== 429) {
          if (lastID) {
            lastID = ""; // the registry does not know the place any more
          } else {
            this.instances = new Map();
            this.#become("failed", words(err));
            this.dispatchEvent(new Event("change"));
            return;
          }
        }
        this.#become("cut", words(err));
      }
      await new Promise((resume) => setTimeout(resume, pause));
      pause = Math.min(2 * pause, 4000);
    }
  }

  /** @param {Entry & {op: string, namespace: string, service: string, id: string, instance: Instance}} change */
  #apply(change) {
    const key = keyOf(change);
    if (change.op === "put") this.instances.set(key, change.instance);
    else this.instances.delete(key);
    this.changes.unshift(change);
    this.changes.length = Math.min(this.changes.length, newest);
    this.position = change.position;
    this.heard = Date.now();
    this.dispatchEvent(new Event("change"));
  }
}
