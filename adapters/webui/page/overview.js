// The overview: every service with its instances by state, and what changed of late.
import { get } from "./api.js";
import { h, list, rested, say, visible } from "./dom.js";
import { stateOf, states } from "./fleet.js";
import { bar, Counted, drawBar, entry, newest, Page, chip, skip } from "./page.js";
import { drag, toInstance, toService } from "./route.js";
import { Rows, whole } from "./rows.js";
import { ago, bytes, count, many, milliseconds, span } from "./words.js";

/**
 * @typedef {{namespace: string, service: string, total: number, ready: number, counts: Record<string, number>, zones: Set<string> | undefined, versions: Set<string> | undefined, changed: string}} Row
 * zones and versions are undefined while they are not known
 */

const shownChanges = 25;
const shownFound = 20;
const mostNames = 50; // that a title tells

class Overview extends Page {
  tiles = h("dl", { class: "tiles" });
  search = h("input", { type: "search", placeholder: "Service, instance, address, zone, version, tag", "aria-label": "Search", oninput: () => drag("q", this.search.value) });
  table = h("table", { class: "services" },
    h("thead", {}, h("tr", {}, ...["Service", "Instances by state", "Ready", "Zones", "Versions", "Last change"].map((name) => h("th", { scope: "col" }, name)))));
  /** @type {Rows<Row>} */
  rows = new Rows(this.table, { key: (row) => `${row.namespace}/${row.service}`, make: makeRow, update: (el, row) => drawRow(el, row, this.#one, this.now) }, this.gone.signal);
  found = h("ul", { class: "found" });
  recent = h("ol", { class: "entries" });
  none = h("p", { class: "quiet" });
  partial = h("p", { class: "quiet" });
  sum = h("span", { class: "quiet" });
  counted = new Counted();
  /** @type {import("./fleet.js").Entry[]} */
  earlier = [];
  /** @type {any} */
  status = null;
  #asked = "";
  #one = true; // all services are of one namespace
  /** Of what the rows were counted. @type {unknown[]} */
  #of = [];
  /** All services, those with critical instances first. @type {Row[]} */
  #rows = [];

  connectedCallback() {
    const changes = h("section", { id: "changes", "aria-labelledby": "recent" }, h("h2", { id: "recent" }, "What changed"), this.recent);
    this.append(
      h("h1", { class: "hidden" }, "Overview"), this.tiles,
      h("div", { class: "columns" },
        h("section", { class: "wide", "aria-labelledby": "services" },
          h("div", { class: "head" }, h("h2", { id: "services" }, "Services"), this.sum, this.counted.el, h("span", { class: "grow" }), this.search),
          this.found,
          skip("Skip the services", changes),
          this.table,
          this.none, this.partial,
          h("p", { class: "legend" }, ...states.map(chip))),
        changes));
    this.routed();
    this.poll();
    const timer = setInterval(() => this.poll(), 5000);
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  routed() {
    const q = this.route.query.get("q") ?? "";
    if (this.search.value !== q) this.search.value = q;
    this.lookBackWhereNeeded();
    this.changed();
  }

  /** Reads the earlier changes where others are shown than before, or where the stream has missed some. */
  lookBackWhereNeeded() {
    const asked = `${this.route.query.get("ns") || "*"} ${this.at} ${this.at ? "" : this.context.fleet.gaps}`;
    if (this.#asked === asked) return;
    this.#asked = asked;
    if (this.at) this.lookBackSoon();
    else this.lookBack();
  }

  lookBackSoon = rested(300, () => this.lookBack());

  /** Reads the changes before those that the stream tells. */
  async lookBack() {
    const ns = this.route.query.get("ns") || "*";
    const asked = this.#asked;
    try {
      const page = await get("/v1/history", { ns, to: this.at, limit: shownChanges }, this.gone.signal);
      if (asked === this.#asked) this.earlier = page.entries;
    } catch {
      if (asked === this.#asked) this.earlier = []; // the caller may not read the history
    }
    this.changed();
  }

  async poll() {
    try {
      this.status = await get("/v1/status", {}, this.gone.signal);
    } catch {
      this.status = null;
    }
    this.changed();
  }

  changed() {
    const { fleet } = this.context;
    this.lookBackWhereNeeded();
    const wanted = this.search.value.trim().toLowerCase();
    const rows = this.count();
    /** @type {Record<string, number>} */
    const all = {};
    let total = 0, ready = 0;
    for (const row of rows) {
      total += row.total;
      ready += row.ready;
      for (const [state, n] of Object.entries(row.counts)) all[state] = (all[state] ?? 0) + n;
    }
    const found = wanted ? find(fleet.instances.values(), wanted) : [];
    const shown = wanted ? rows.filter((row) => row.service.toLowerCase().includes(wanted) || row.namespace.includes(wanted)) : rows;
    this.showTiles(all, total, ready, rows.length);
    this.#one = new Set(rows.map((row) => row.namespace)).size < 2;
    this.table.classList.toggle("many", shown.length > whole); // rows of one height, of which only those in sight are elements
    this.rows.show(shown);
    list(this.found, found, (i) => `${i.namespace}/${i.service}/${i.id}`, (i) => h("li", {}, h("a", { href: toInstance(i) }, `${i.service}/${i.id}`), ` ${i.address}`));
    this.found.hidden = found.length === 0;
    const sum = `${count(shown.length)} of ${count(rows.length)}`;
    say(this.sum, wanted ? sum : "");
    this.counted.shows(wanted, `Shown: ${sum} services${found.length ? `, ${many(found.length, "instance")}` : ""}`);
    const loaded = fleet.state !== "loading" && fleet.state !== "failed";
    say(this.none, shown.length > 0 ? "" : wanted ? "No service has that name." : loaded ? nothing(this.context.rights.readsAll, this.at) : fleet.problem);
    say(this.partial, this.context.rights.readsAll ? "" : "You see the services that you may read.");
    this.showRecent();
  }

  /** The services of the fleet, counted once: a text that is typed changes nothing of them. */
  count() {
    const { instances, services, told } = this.context.fleet;
    const of = [instances, services, told];
    if (of.some((part, n) => part !== this.#of[n])) {
      this.#of = of;
      this.#rows = (services?.map(summarized) ?? counted(instances.values()))
        .sort((a, b) => sick(b) - sick(a) || collator.compare(a.namespace, b.namespace) || collator.compare(a.service, b.service));
    }
    return this.#rows;
  }

  /**
   * @param {Record<string, number>} all
   * @param {number} total
   * @param {number} ready
   * @param {number} services
   */
  showTiles(all, total, ready, services) {
    const status = this.at ? null : this.status;
    /** @type {{name: string, value: string, note?: string, bad?: boolean}[]} */
    const tiles = [
      { name: "Services", value: count(services) },
      { name: "Instances", value: count(total), note: `${count(ready)} ready` },
      { name: "Critical", value: count(all.critical ?? 0), bad: Boolean(all.critical) },
      { name: "Kept from traffic", value: count((all.draining ?? 0) + (all.maintenance ?? 0)), note: "draining, in maintenance" },
    ];
    if (status) {
      const held = Object.keys(status.leases.expiry_held ?? {});
      const lag = milliseconds(status.catalog.lag);
      tiles.push({ name: "Leases overdue", value: count(status.leases.overdue), note: `of ${count(status.leases.count)}`, bad: status.leases.overdue > 0 });
      tiles.push({ name: "Self-preservation", value: held.length ? "on" : "off", note: held.length ? `expiry is held in ${held.join(", ")}` : "leases expire", bad: held.length > 0 });
      tiles.push({ name: "Registry", value: status.ready ? "ready" : "not ready", note: status.not_ready ?? (lag > 3000 ? `${span(lag)} behind` : `up ${span(milliseconds(status.uptime))}, no lag`), bad: !status.ready || lag > 3000 });
      tiles.push({ name: "History", value: count(status.history.entries), note: status.store.bytes === undefined ? "events" : `events, ${bytes(status.store.bytes)}` });
    }
    list(this.tiles, tiles, (t) => t.name, (t) => h("div", {}, h("dt", {}, t.name), h("dd", {}, h("b"), h("small"))), (el, t) => {
      el.classList.toggle("bad", Boolean(t.bad));
      say(el.querySelector("b"), t.value);
      say(el.querySelector("small"), t.note ?? "");
    });
  }

  showRecent() {
    const live = this.at ? [] : this.context.fleet.changes;
    list(this.recent, newest(live, this.earlier, shownChanges), (e) => e.position, (e) => entry(e));
  }
}

/**
 * What an overview without services says.
 * @param {boolean} all the caller may read all
 * @param {string} at
 */
const nothing = (all, at) => `Nothing ${all ? "" : "that you may read "}${at ? "was registered then" : "is registered"}.`;

/**
 * The services of some instances.
 * @param {Iterable<import("./fleet.js").Instance>} instances
 */
function counted(instances) {
  /** @type {Map<string, Row & {zones: Set<string>, versions: Set<string>}>} */
  const services = new Map();
  for (const i of instances) {
    const key = `${i.namespace}/${i.service}`;
    let row = services.get(key);
    if (!row) services.set(key, row = { namespace: i.namespace, service: i.service, total: 0, ready: 0, counts: {}, zones: new Set(), versions: new Set(), changed: "" });
    const state = stateOf(i);
    row.total++;
    row.counts[state] = (row.counts[state] ?? 0) + 1;
    if (state === "passing" || state === "warning") row.ready++;
    if (i.zone) row.zones.add(i.zone);
    if (i.version) row.versions.add(i.version);
    if (i.changed_at > row.changed) row.changed = i.changed_at;
  }
  return [...services.values()];
}

/** @param {import("./fleet.js").Summary} s @returns {Row} */
const summarized = (s) => ({ namespace: s.namespace, service: s.service, total: s.instances, ready: s.ready, counts: s.states, zones: undefined, versions: undefined, changed: s.changed_at });

/**
 * The first instances of which something has a text.
 * @param {Iterable<import("./fleet.js").Instance>} instances
 * @param {string} wanted in lower case
 */
function find(instances, wanted) {
  const found = [];
  for (const i of instances) {
    if (![i.id, i.address, i.zone, i.version, ...(i.tags ?? [])].some((text) => text?.toLowerCase().includes(wanted))) continue;
    found.push(i);
    if (found.length === shownFound) break;
  }
  return found;
}

const collator = new Intl.Collator("en", { numeric: true });

/** @param {Row} row */
const sick = (row) => (row.counts.critical ? 1 : 0);

/** @param {Row} row */
function makeRow(row) {
  return h("tr", {}, h("th", { scope: "row" }, h("a", { href: toService(row.namespace, row.service) }, row.service), h("small", { class: "quiet" })),
    h("td", {}, bar(row.counts)), h("td", { class: "number" }), h("td"), h("td"), h("td", { class: "quiet" }));
}

/**
 * @param {HTMLTableRowElement} el
 * @param {Row} row
 * @param {boolean} one all services are of one namespace
 * @param {number} now
 */
function drawRow(el, row, one, now) {
  const [name, bars, ready, zones, versions, changed] = el.cells;
  name.title = visible(`${row.namespace}/${row.service}`); // which the column may be too narrow for
  name.querySelector("a")?.setAttribute("href", toService(row.namespace, row.service));
  say(/** @type {Element} */ (name.querySelector("small")), one ? "" : ` ${row.namespace}`);
  drawBar(/** @type {HTMLElement} */ (bars.firstElementChild), row.counts);
  say(ready, `${count(row.ready)} / ${count(row.total)}`);
  sayNames(zones, row.zones);
  sayNames(versions, row.versions);
  say(changed, ago(row.changed, now));
}

/**
 * @param {HTMLElement} cell
 * @param {Set<string> | undefined} names
 */
function sayNames(cell, names) {
  const sorted = [...(names ?? [])].sort();
  say(cell, !names ? "…" : sorted.length > 2 ? `${sorted[0]} +${sorted.length - 1}` : sorted.join(", "));
  cell.title = visible(sorted.slice(0, mostNames).join(", "));
}

customElements.define("rc-overview", Overview);
