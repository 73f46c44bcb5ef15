// An instance: what it is, its checks, and all that happened to it.
import { aborted, get, instancePath, passing, Problem, words } from "./api.js";
import { h, list, oneByOne, renew, rested, s } from "./dom.js";
import { keyOf, stateOf } from "./fleet.js";
import { offer } from "./acts.js";
import { chip, entry, failure, Page, timeOf } from "./page.js";
import { toService } from "./route.js";
import { count, milliseconds, time } from "./words.js";

class Instance extends Page {
  head = h("div", { class: "head" });
  about = h("div");
  history = h("ol", { class: "entries" });
  beats = h("div");
  more = h("button", { hidden: true, onclick: () => this.lookBack() }, "Earlier");
  #next = "";
  #turn = 0; // how often the history was read anew
  #looking = false; // earlier entries are being read
  #offered = ""; // what the buttons are for
  #shown = "";
  /** The moment of the details that are there; undefined: there are none. @type {string | undefined} */
  #told = undefined;
  #asked = "";

  get heading() {
    return `${this.route.service}/${this.route.id}`;
  }

  connectedCallback() {
    const { namespace, service, id } = this.route;
    this.append(
      h("h1", {}, h("span", { class: "quiet" }, `${namespace} / `), h("a", { href: toService(namespace, service) }, service), h("span", { class: "quiet" }, " / "), id),
      this.head, this.about,
      h("section", { "aria-labelledby": "beats" }, h("h2", { id: "beats" }, "Heartbeats by the hour"), this.beats),
      h("section", { "aria-labelledby": "history" }, h("h2", { id: "history" }, "History"), this.history, this.more));
    this.routed();
    const timer = setInterval(() => this.load(), 5000);
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  routed() {
    this.load();
    if (this.at) this.lookBackSoon();
    else this.lookBackAnew();
  }

  lookBackSoon = rested(300, () => this.lookBackAnew());

  lookBackAnew() {
    this.#next = "";
    this.#turn++;
    this.#asked = this.at;
    this.lookBack(true);
  }

  changed() {
    const i = this.context.fleet.instances.get(keyOf(this.route));
    const known = i ? `${i.epoch} ${i.revision} ${i.changed_at} ${stateOf(i)}` : "gone";
    if (known === this.#shown || this.at) return;
    const first = this.#shown === "";
    this.#shown = known;
    if (first) return;
    this.load();
    this.lookBackAnew();
  }

  load = oneByOne(() => this.read());

  async read() {
    const at = this.at;
    try {
      const i = await get(instancePath(this.route), { ns: this.route.namespace, at }, this.gone.signal);
      if (at !== this.at) return;
      this.#told = at;
      this.show(i);
    } catch (err) {
      if (aborted(err) || at !== this.at) return;
      if (this.#told === at && (passing(err) || (err instanceof Problem && err.status === 401))) return; // what is there stays, marked as old
      this.#told = undefined;
      this.#offered = "";
      this.head.replaceChildren();
      this.about.replaceChildren(this.missing(err));
    }
  }

  /** Why there is nothing to show. @param {unknown} err */
  missing(err) {
    if (!(err instanceof Problem) || err.status !== 410 || !err.body.event) return failure(words(err));
    const e = err.body.event;
    return h("section", { class: "gone", "aria-labelledby": "gone" }, h("h2", { id: "gone" }, this.at ? "It was gone then" : "Why is it gone?"),
      h("ol", { class: "entries" }, entry(e, { subject: false })));
  }

  /** @param {import("./fleet.js").Instance} i */
  show(i) {
    const { name, grants } = this.context.rights;
    const offered = JSON.stringify([this.at, i.epoch, i.status, i.traffic, i.owner, name, grants]);
    if (offered !== this.#offered) { // whoever is about to press a button keeps it
      this.#offered = offered;
      this.head.replaceChildren(chip(i.status), ...(i.traffic === "serving" ? [] : [chip(i.traffic)]), h("span", { class: "grow" }), ...(this.at ? [] : offer(i, this.context.rights)));
    }
    /** @type {[string, import("./dom.js").Child][]} */
    const facts = [
      ["Address", i.address],
      ["Ports", Object.entries(i.ports ?? {}).map(([name, port]) => `${name} ${port}`).join(", ")],
      ["Zone", i.zone], ["Version", i.version], ["Weight", String(i.weight)],
      ["Tags", i.tags?.length ? h("span", { class: "tags" }, ...i.tags.map((tag) => h("span", { class: "tag" }, tag))) : ""],
      ["Says of itself", i.reported],
      ["Maintenance", i.maintenance && [i.maintenance.reason, i.maintenance.by && `by ${i.maintenance.by}`, i.maintenance.at && `since ${time(i.maintenance.at)}`].filter(Boolean).join(", ")],
      ["Lease", i.ttl ? `${i.ttl}, then ${i.on_lapse === "critical" ? "critical" : "removed"}` : "none"],
      ["Last heartbeat", !this.at && i.lease_expires_at && i.ttl ? timeOf(new Date(Date.parse(i.lease_expires_at) - milliseconds(i.ttl)).toISOString()) : ""],
      ["Lease lapses", !this.at && i.lease_expires_at ? timeOf(i.lease_expires_at) : ""],
      ["Lapsed", i.lapsed_at && timeOf(i.lapsed_at)],
      ["Epoch", String(i.epoch)], ["Owner", i.owner],
      ["Registered", timeOf(i.registered_at)], ["Last change", timeOf(i.changed_at)],
    ];
    const metadata = Object.entries(i.metadata ?? {});
    renew(this.about, h("div", {},
      listed(facts.filter(([, v]) => v)),
      metadata.length ? h("section", { "aria-labelledby": "metadata" }, h("h2", { id: "metadata" }, "Metadata"), listed(metadata)) : "", // apart: a key may be "Zone"
      i.checks?.length ? h("section", { "aria-labelledby": "checks" }, h("h2", { id: "checks" }, "Checks"),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "checks" }, h("table", {},
          h("thead", {}, h("tr", {}, ...["Check", "Status", "Kind", "Target", "Since", "Output", "Seen by"].map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, ...i.checks.map((c) => h("tr", {},
            h("th", { scope: "row" }, c.name || c.id), h("td", {}, chip(c.status), c.flapping && " flapping"), h("td", {}, c.kind), h("td", {}, c.target ?? ""),
            h("td", {}, timeOf(c.since)), h("td", { class: "output" }, c.output ?? ""), h("td", {}, c.looked_by ?? c.by ?? ""))))))) : ""));
  }

  /** @param {boolean} [anew] */
  async lookBack(anew = false) {
    if (!anew && (this.#looking || !this.#next)) return;
    const at = this.#asked, turn = this.#turn;
    this.#looking = !anew;
    try {
      const page = await get(`${instancePath(this.route)}/history`, { ns: this.route.namespace, to: this.#next ? "" : at, cursor: this.#next, limit: 50 }, this.gone.signal);
      if (at !== this.at || turn !== this.#turn) return; // it is read anew by now
      const entries = page.entries.map((/** @type {any} */ e) => e);
      if (anew) list(this.history, entries, (/** @type {any} */ e) => e.position, (e) => entry(e, { subject: false }));
      else this.history.append(...entries.map((/** @type {any} */ e) => entry(e, { subject: false })));
      if (anew) this.showBeats(page.heartbeats ?? []);
      this.#next = page.next ?? "";
      this.more.hidden = !this.#next;
    } catch (err) {
      if (!aborted(err) && at === this.at && turn === this.#turn) this.history.replaceChildren(h("li", {}, failure(words(err))));
    } finally {
      if (turn === this.#turn) this.#looking = false;
    }
  }

  /** @param {{hour: string, received: number, expected: number, longest_gap: string}[]} hours newest first or last */
  showBeats(hours) {
    const shown = [...hours].sort((a, b) => a.hour.localeCompare(b.hour)).slice(-48);
    if (shown.length === 0) {
      this.beats.replaceChildren(h("p", { class: "quiet" }, "No heartbeat is counted here."));
      return;
    }
    const most = Math.max(1, ...shown.map((x) => Math.max(x.received, x.expected)));
    const width = 14;
    const text = (/** @type {typeof shown[0]} */ x) => `${time(x.hour)}: ${count(x.received)} received, ${count(x.expected)} needed, longest gap ${x.longest_gap}`;
    this.beats.replaceChildren(
      s("svg", { class: "beats", viewBox: `0 0 ${shown.length * width} 60`, width: shown.length * width, height: 60, role: "img", "aria-label": `Heartbeats of ${shown.length} hours; the newest: ${text(shown[shown.length - 1])}` },
        ...shown.map((x, n) => s("g", {}, s("title", {}, text(x)),
          s("rect", { class: x.received < x.expected ? "few" : "enough", x: n * width + 1, width: width - 2, y: 60 - (58 * x.received) / most, height: (58 * x.received) / most }),
          s("line", { class: "needed", x1: n * width, x2: n * width + width, y1: 60 - (58 * x.expected) / most, y2: 60 - (58 * x.expected) / most })))),
      h("p", { class: "quiet" }, text(shown[shown.length - 1])));
  }
}

/** @param {[string, import("./dom.js").Child][]} facts */
function listed(facts) {
  return h("dl", { class: "facts" }, ...facts.map(([name, v]) => h("div", {}, h("dt", {}, name), h("dd", {}, v))));
}

customElements.define("rc-instance", Instance);
