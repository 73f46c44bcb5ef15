// A service: its instances in a table that can be sorted and filtered, and their past as lanes.
import { aborted, get, instancePath } from "./api.js";
import { h, list, rested, say } from "./dom.js";
import { menus, others, picks, plain } from "./filter.js";
import { keyOf, stateOf, states } from "./fleet.js";
import "./lanes.js";
import { bar, chip, Counted, drawBar, entry, newest, Page, rechip, skip } from "./page.js";
import { Rows } from "./rows.js";
import { drag, set, toInstance } from "./route.js";
import { ago, many, milliseconds, span } from "./words.js";

/** @typedef {import("./fleet.js").Instance} Instance */

/** @type {{name: string, key: string, of: (i: Instance, heard: Map<string, number>) => string | number}[]} */
const columns = [
  { name: "Instance", key: "id", of: (i) => i.id },
  { name: "State", key: "state", of: (i) => states.indexOf(stateOf(i)) },
  { name: "Zone", key: "zone", of: (i) => i.zone ?? "" },
  { name: "Version", key: "version", of: (i) => i.version ?? "" },
  { name: "Weight", key: "weight", of: (i) => i.weight },
  { name: "Address", key: "address", of: (i) => i.address },
  { name: "Checks", key: "checks", of: (i) => (i.checks ?? []).filter((c) => c.status !== "passing").length },
  { name: "Heartbeat", key: "heartbeat", of: (i, heard) => -(heard.get(keyOf(i)) ?? 0) },
  { name: "Since", key: "since", of: (i) => i.changed_at },
];

const shownChanges = 20;
const mostLeases = 5000; // instances whose leases are asked for
const fewLeases = 500, seldom = 4; // beyond the few, leases are asked for at every fourth look only

class Service extends Page {
  bar = bar({});
  sum = h("span", { class: "quiet" });
  counted = new Counted();
  text = h("input", { type: "search", "aria-label": "Find in this service", placeholder: "Find", oninput: () => drag("q", this.text.value) });
  /** @type {Map<string, HTMLSelectElement>} */
  choices = new Map();
  heads = h("tr");
  recent = h("ol", { class: "entries" });
  lanes = /** @type {import("./lanes.js").Lanes} */ (document.createElement("rc-lanes"));
  /** When each instance was last heard, by its key. @type {Map<string, number>} */
  heard = new Map();
  /** @type {Rows<Instance> | undefined} */
  rows = undefined;
  others = h("span", { class: "tags" });
  /** The changes before those that the stream tells; undefined: they cannot be seen. @type {import("./fleet.js").Entry[] | undefined} */
  earlier = [];
  #gaps = 0; // of the stream, when the earlier changes were read
  #polls = 0;
  none = h("p", { class: "quiet" });
  #asked = "";

  get heading() {
    return this.route.service;
  }

  connectedCallback() {
    const table = h("table", { class: "instances" }, h("thead", {}, this.heads));
    this.rows = new Rows(table, { key: keyOf, make: makeRow, update: (el, i) => drawRow(el, i, this.at ? undefined : this.heard.get(keyOf(i)), this.now) }, this.gone.signal);
    const form = h("form", { class: "filters", onsubmit: (/** @type {Event} */ e) => e.preventDefault() }, this.text);
    for (const name of menus) {
      const choice = h("select", { "aria-label": name, onchange: () => set({ [name]: choice.value }, { push: true }) });
      this.choices.set(name, choice);
      form.append(choice);
    }
    form.append(this.others);
    for (const c of columns) {
      this.heads.append(h("th", { scope: "col", "data-key": c.key }, h("button", { class: "sort", onclick: () => this.sort(c.key) }, c.name)));
    }
    const timeline = h("section", { id: "timeline", "aria-labelledby": "lanes" }, h("h2", { id: "lanes" }, "Timeline"), this.lanes);
    this.append(
      h("h1", {}, h("span", { class: "quiet" }, `${this.route.namespace} / `), this.route.service), this.bar,
      h("section", { "aria-labelledby": "instances" }, h("div", { class: "head" }, h("h2", { id: "instances" }, "Instances"), this.sum, this.counted.el), form,
        skip("Skip the instances", timeline),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "instances" }, table), this.none),
      timeline,
      h("section", { "aria-labelledby": "recent" }, h("h2", { id: "recent" }, "What changed"), this.recent));
    this.lanes.begin(this);
    this.routed();
    this.poll();
    const timer = setInterval(() => this.poll(), 5000);
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** @param {string} key */
  sort(key) {
    const now = this.route.query.get("sort") ?? "id";
    set({ sort: now === key ? `-${key}` : key === "id" ? "" : key });
  }

  routed() {
    const q = this.route.query.get("q") ?? "";
    if (this.text.value !== q) this.text.value = q; // who types keeps the place in the text
    if (this.#asked !== this.at || this.#asked === "") {
      this.#asked = this.at;
      if (this.at) this.lookBackSoon();
      else this.lookBack();
      this.lanes.load();
    }
    this.changed();
  }

  lookBackSoon = rested(300, () => this.lookBack());

  async lookBack() {
    const { namespace, service } = this.route, at = this.at;
    this.#gaps = this.context.fleet.gaps;
    try {
      const page = await get(`${instancePath({ namespace, service })}/history`, { ns: namespace, to: at, limit: shownChanges }, this.gone.signal);
      if (at === this.at) this.earlier = page.entries;
    } catch (err) {
      if (aborted(err) || at !== this.at) return;
      this.earlier = undefined;
    }
    this.showRecent();
  }

  showRecent() {
    const { namespace, service } = this.route;
    const live = this.at ? [] : this.context.fleet.changes.filter((e) => e.namespace === namespace && e.service === service);
    const entries = newest(live, this.earlier ?? [], shownChanges);
    if (entries.length === 0 && !this.earlier) this.recent.replaceChildren(h("li", { class: "quiet" }, "There is no history to be seen."));
    else list(this.recent, entries, (e) => e.position, (e) => entry(e));
  }

  /** Asks when each instance was last heard: the stream tells of no heartbeats. */
  async poll() {
    const number = this.all().length;
    if (this.at || document.hidden || number > mostLeases || (this.#polls++ % seldom && number > fewLeases)) return;
    const { namespace, service } = this.route;
    try {
      const reply = await get(`${instancePath({ namespace, service })}/instances`, { ns: namespace, leases: "true" }, this.gone.signal);
      for (const i of reply.instances) if (i.lease_expires_at && i.ttl) this.heard.set(keyOf(i), Date.parse(i.lease_expires_at) - milliseconds(i.ttl));
    } catch {
      return;
    }
    this.changed();
  }

  /** @returns {Instance[]} */
  all() {
    const { namespace, service } = this.route;
    return [...this.context.fleet.instances.values()].filter((i) => i.namespace === namespace && i.service === service);
  }

  changed() {
    if (!this.at && this.#gaps !== this.context.fleet.gaps) this.lookBack();
    this.showRecent();
    const all = this.all();
    const query = this.route.query;
    /** @type {Record<string, number>} */
    const counts = {};
    /** @type {Record<string, Set<string>>} */
    const values = { status: new Set(), traffic: new Set(), zone: new Set(), version: new Set(), tag: new Set() };
    for (const i of all) {
      counts[stateOf(i)] = (counts[stateOf(i)] ?? 0) + 1;
      values.status.add(i.status);
      values.traffic.add(i.traffic);
      if (i.zone) values.zone.add(i.zone);
      if (i.version) values.version.add(i.version);
      for (const tag of i.tags ?? []) values.tag.add(tag);
    }
    drawBar(this.bar, counts);
    for (const [name, choice] of this.choices) {
      const chosen = plain(query, name) ? (query.get(name) ?? "") : "";
      if (chosen) values[name].add(chosen);
      list(choice, ["", ...[...values[name]].sort()], (v) => v, (v) => h("option", { value: v }, v || `any ${name}`));
      choice.value = chosen;
      choice.hidden = (values[name].size < 2 && !chosen) || !plain(query, name);
    }
    list(this.others, others(query), ([name, value]) => `${name}=${value}`, ([name, value]) =>
      h("button", { type: "button", title: "Take this filter out", onclick: () => set({ [name]: "" }, { push: true }) }, `${name}=${value} ✕`));
    const text = this.text.value.trim().toLowerCase();
    const sort = query.get("sort") ?? "id";
    const column = columns.find((c) => c.key === sort.replace(/^-/, "")) ?? columns[0];
    const turn = sort.startsWith("-") ? -1 : 1;
    for (const head of /** @type {HTMLCollectionOf<HTMLElement>} */ (this.heads.children)) {
      head.setAttribute("aria-sort", head.dataset.key !== column.key ? "none" : turn > 0 ? "ascending" : "descending");
    }
    const picked = picks(query, this.heard);
    const shown = all.filter((i) => picked(i) && (!text || `${i.id} ${i.address} ${(i.tags ?? []).join(" ")}`.toLowerCase().includes(text)))
      .map((i) => ({ i, by: column.of(i, this.heard) }))
      .sort((a, b) => turn * compare(a.by, b.by) || compare(a.i.id, b.i.id)).map(({ i }) => i);
    const sum = shown.length === all.length ? many(all.length, "instance") : `${shown.length} of ${many(all.length, "instance")}`;
    say(this.sum, sum);
    this.counted.shows(`${text} ${menus.map((name) => query.getAll(name))} ${others(query)}`, `Shown: ${sum}`);
    this.rows?.show(shown);
    const { state, problem } = this.context.fleet;
    say(this.none, shown.length > 0 ? "" : all.length > 0 ? "No instance fits the filters." : state === "failed" ? problem : state === "loading" ? "" : this.at ? "The service had no instances then." : "The service has no instances.");
  }
}

const collator = new Intl.Collator("en", { numeric: true });

/**
 * @param {string | number} a
 * @param {string | number} b
 */
function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
}

/** @param {Instance} i */
function makeRow(i) {
  const row = h("tr", {}, h("th", { scope: "row" }, h("a", { href: toInstance(i) }, i.id)), h("td", {}, chip(stateOf(i))));
  for (let n = 2; n < columns.length; n++) row.append(h("td", { class: columns[n].key === "weight" ? "number" : "" }));
  return row;
}

/**
 * @param {HTMLTableRowElement} el
 * @param {Instance} i
 * @param {number | undefined} heard
 * @param {number} now
 */
function drawRow(el, i, heard, now) {
  const [name, state, zone, version, weight, address, checks, heartbeat, since] = el.cells;
  name.firstElementChild?.setAttribute("href", toInstance(i));
  name.title = i.id; // which the column may be too narrow for
  rechip(/** @type {HTMLElement} */ (state.firstElementChild), stateOf(i));
  say(zone, i.zone ?? "");
  say(version, i.version ?? "");
  say(weight, i.weight);
  const ports = Object.entries(i.ports ?? {});
  say(address, i.address + (ports.length ? ` (${ports.map(([n, p]) => `${n} ${p}`).join(", ")})` : ""));
  const bad = (i.checks ?? []).filter((c) => c.status !== "passing");
  say(checks, !i.checks?.length ? "" : bad.length ? `${bad.length} of ${i.checks.length} ${bad[0].status}` : `${i.checks.length} passing`);
  say(heartbeat, heard ? `${span(Math.max(0, Date.now() - heard))} ago` : i.ttl ? "" : "no lease");
  say(since, ago(i.changed_at, now));
}

customElements.define("rc-service", Service);
