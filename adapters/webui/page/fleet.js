// The fleet as the page shows it: live by a stream of changes, or as it was at a moment.
import { aborted, get, instancePath, passing, Problem, refused, stream, words } from "./api.js";

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
 * @typedef {{namespace: string, service: string, instances: number, ready: number, states: Record<string, number>, changed_at: string}} Summary
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

/** What a page needs of a past moment: every instance, those of one service, or none: "*", "namespace/service", "". */
const everything = "*";
const otherTimeline = "urn:rollcall:problem:other-timeline"; // the moment is a position that a restore left
const pause = 2000; // ms until a question that failed is asked again
const signedOutPause = 10_000; // ms until a stream is asked for again whose caller is not signed in any more
const rest = 400; // ms for which a moment stays before all its instances are asked for

/** The events "change" (of the fleet) and "state" (of the connection) tell of news. */
export class Fleet extends EventTarget {
  /** @type {Map<string, Instance>} */
  instances = new Map();
  /** The services of a past moment, until its instances are there; undefined: the instances are there. @type {Summary[] | undefined} */
  services = undefined;
  /** The newest changes that came while the page was open, newest first. @type {Entry[]} */
  changes = [];
  /** @type {State} */
  state = "loading";
  /** Why the state is cut or failed; undefined: it is not. @type {unknown} */
  fault = undefined;
  /** When the fleet was last known to be right. */
  heard = 0;
  position = "";
  /** How often the stream began anew: changes in between were not told. */
  gaps = 0;
  /** How many changes the stream has told: with instances and services, it says whether another fleet is there than before. */
  told = 0;
  /** The moment of what is there; undefined: nothing is there. @type {string | undefined} */
  moment = undefined;
  /** What the registry says about the moment. */
  note = "";
  #namespace = "*";
  #at = "";
  #scope = everything;
  /** Ends what is followed, or asked for. @type {AbortController | undefined} */
  #running;
  #shown = false;

  /**
   * Shows a namespace ("*": all) at a moment ("": live).
   * @param {string} namespace
   * @param {string} at
   * @param {string} scope what of a past moment is needed
   */
  show(namespace, at, scope = everything) {
    if (at === "") scope = everything; // the stream tells all
    const same = namespace === this.#namespace && scope === this.#scope;
    if (this.#shown && same && at === this.#at) return;
    const wasLive = this.#at === "";
    this.#shown = true;
    this.#namespace = namespace;
    this.#at = at;
    this.#scope = scope;
    if (!same) {
      this.instances = new Map();
      this.services = undefined;
      this.changes = [];
      this.moment = undefined;
    }
    clearTimeout(this.#resting);
    this.note = "";
    if (!same || wasLive || at === "" || this.#whole) this.#running?.abort();
    if (at === "") {
      this.#running = new AbortController();
      this.#become("loading");
      this.#follow(this.#running.signal);
    } else if (!this.#asking) this.#past();
  }

  /** Why the state is cut or failed, in words; "": it is not. */
  get problem() {
    return this.fault ? words(this.fault) : "";
  }

  /** Nobody is signed in whom the registry knows. */
  get signedOut() {
    return this.fault instanceof Problem && this.fault.status === 401;
  }

  /** Whether the registry knows no such moment as the one that is asked for. */
  get noMoment() {
    return this.#at !== "" && this.fault instanceof Problem && (this.fault.body.field === "at" || this.fault.body.type === otherTimeline);
  }

  /** The moment that is asked for. */
  get wanted() {
    return this.#at;
  }

  /** Begins anew, with the rights of now. */
  again() {
    this.#running?.abort();
    this.#shown = false;
    this.instances = new Map();
    this.services = undefined;
    this.show(this.#namespace, this.#at, this.#scope);
  }

  /** Asks anew for a live stream: the caller seems to be signed in no more, which the stream tells at its next keep-alive only. */
  recheck() {
    if (this.state !== "live") return;
    this.#become("loading"); // one question, whatever else is refused meanwhile
    this.#running?.abort();
    this.#running = new AbortController();
    this.#follow(this.#running.signal);
  }

  /**
   * @param {State} state
   * @param {unknown} [fault]
   */
  #become(state, fault) {
    const before = this.problem;
    this.fault = fault;
    if (this.state === state && this.problem === before) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #asking = false;
  #whole = false; // all instances are being asked for
  #resting = 0;

  /**
   * Asks for the moment that is wanted, and again while another is wanted by then: one question at a time, so that the page
   * follows a slider that does not rest. The summaries of the services come first, and all instances when the slider rests.
   */
  async #past() {
    this.#asking = true;
    this.#whole = false;
    this.#running = new AbortController();
    const { signal } = this.#running;
    let failed = false;
    while (this.#at !== "" && !signal.aborted) {
      const at = this.#at, namespace = this.#namespace, scope = this.#scope;
      failed = false;
      try {
        if (scope === everything) {
          const list = await get("/v1/services", { ns: namespace, at }, signal);
          if (!signal.aborted) this.#summarize(list, at);
        } else if (scope !== "") {
          const [ns, service] = scope.split("/");
          const list = await get(`${instancePath({ namespace: ns, service })}/instances`, { ns, at }, signal);
          if (!signal.aborted) this.#replace({ position: list.position, services: [list] }, at);
        } else {
          await get("/v1/services", { ns: namespace, at, limit: 1 }, signal).catch((err) => refused(err) || Promise.reject(err)); // is there such a moment?
          this.moment = at;
        }
        if (signal.aborted) break;
        this.#become("past");
      } catch (err) {
        if (aborted(err) || signal.aborted) break;
        failed = passing(err);
        this.#fail(err);
      }
      if (at === this.#at && namespace === this.#namespace && scope === this.#scope) break;
    }
    this.#asking = false;
    if (this.#at === "") return;
    if (signal.aborted) this.#past();
    else if (failed) this.#resting = setTimeout(() => this.#past(), pause);
    else if (this.services) this.#resting = setTimeout(() => this.#complete(), rest);
  }

  /** Asks for all instances of the moment that is shown, until another is wanted. */
  async #complete() {
    this.#running = new AbortController();
    const { signal } = this.#running, at = this.#at;
    this.#whole = true;
    try {
      const catalog = await get("/v1/catalog", { ns: this.#namespace, at }, signal);
      if (signal.aborted) return;
      this.note = catalog.note ?? "";
      this.#replace(catalog, at);
      this.dispatchEvent(new Event("state"));
    } catch {
      if (!signal.aborted) this.#resting = setTimeout(() => this.#complete(), pause); // the summaries stay
    } finally {
      if (this.#running.signal === signal) this.#whole = false;
    }
  }

  /** @param {unknown} fault */
  #fail(fault) {
    this.instances = new Map();
    this.services = undefined;
    this.moment = undefined;
    this.#become("failed", fault);
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {{position: string, services: Summary[]}} list
   * @param {string} at
   */
  #summarize(list, at) {
    this.services = list.services;
    this.instances = new Map();
    this.#stands(list.position, at);
  }

  /**
   * @param {string} position
   * @param {string} at
   */
  #stands(position, at) {
    this.position = position;
    this.moment = at;
    this.heard = Date.now();
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {{position: string, services: {instances: Instance[]}[]}} catalog
   * @param {string} at
   */
  #replace(catalog, at) {
    const all = new Map();
    for (const service of catalog.services) for (const i of service.instances) all.set(keyOf(i), i);
    this.instances = all;
    this.services = undefined;
    this.#stands(catalog.position, at);
  }

  /** Follows the changes, and resumes after each break. @param {AbortSignal} signal */
  async #follow(signal) {
    let lastID = "";
    const begun = () => this.moment === ""; // what is there came by a stream
    let wait = 250;
    while (!signal.aborted) {
      try {
        await stream("/v1/streams/catalog", { ns: this.#namespace }, lastID, signal, {
          open: () => {
            if (lastID) this.#become("live");
          },
          event: (name, data, id) => {
            if (signal.aborted) return;
            if (name === "snapshot" || name === "reset") {
              if (begun()) this.gaps++;
              this.#replace(data, "");
            }
            if (name === "change") this.#apply(data);
            if (name !== "cut") this.#become("live");
            lastID = id || lastID;
            wait = 250;
          },
        });
        this.#become("cut", new Error("the stream ended"));
      } catch (err) {
        if (aborted(err) || signal.aborted) return;
        if (err instanceof Problem && err.status >= 400 && err.status < 500 && err.status !== 429) {
          if (err.status === 401 && begun()) { // whoever signs in again finds the page as it was
            this.#become("cut", err);
            await new Promise((resume) => setTimeout(resume, signedOutPause));
            continue;
          }
          if (!lastID) {
            this.#fail(err);
            return;
          }
          lastID = ""; // the registry does not know the place any more
        }
        if (!(err instanceof Problem)) lastID = ""; // what came cannot be understood: nobody knows what it would have changed
        this.#become("cut", err);
      }
      await new Promise((resume) => setTimeout(resume, wait));
      wait = Math.min(2 * wait, 4000);
    }
  }

  /** @param {Entry & {op: string, namespace: string, service: string, id: string, instance: Instance}} change */
  #apply(change) {
    const key = keyOf(change);
    if (change.op === "put") this.instances.set(key, change.instance);
    else this.instances.delete(key);
    this.told++;
    this.changes.unshift(change);
    this.changes.length = Math.min(this.changes.length, newest);
    this.position = change.position;
    this.heard = Date.now();
    this.dispatchEvent(new Event("change"));
  }
}
