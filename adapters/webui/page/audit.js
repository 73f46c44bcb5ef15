// The audit: everything that happened, with filters, for reading and for taking away; and each event with its proof.
import { aborted, get, instancePath, words } from "./api.js";
import { h, say } from "./dom.js";
import { entry, failure, Page, timeOf } from "./page.js";
import { entryAt, verify } from "./proof.js";
import { set } from "./route.js";
import { many } from "./words.js";

/** @typedef {import("./fleet.js").Entry} Entry */

const types = ["InstanceRegistered", "InstanceUpdated", "HealthChanged", "TrafficChanged", "InstanceDeregistered", "LeaseExpired", "RemovalAdmitted", "RemovalWithdrawn", "RemovalsStopped",
  "CheckAdded", "CheckRemoved", "CheckChanged", "SelfPreservationStarted", "SelfPreservationEnded", "ListeningInterrupted", "TimelineBegan",
  "WebhookCreated", "WebhookPaused", "WebhookResumed", "WebhookReplayed", "WebhookDeleted", "TokenCreated", "TokenRotated", "TokenRevoked", "RoleSet", "RoleRemoved",
  "PolicySet", "PolicyRemoved", "ClusterStarted", "MemberAdded", "MemberRemoved", "ClusterRecovered"];

/** Each filter is a parameter of the address, named as the API names it. */
const texts = [["service", "Service"], ["actor", "Actor"], ["reason", "Reason has"], ["from", "From"], ["to", "To"]];

class Audit extends Page {
  form = h("form", { class: "filters", onsubmit: (/** @type {Event} */ e) => {
    e.preventDefault();
    this.filter();
  } });
  type = h("select", { "aria-label": "Type", onchange: () => this.filter() }, h("option", { value: "" }, "any type"), ...types.map((t) => h("option", { value: t }, t)));
  /** @type {Map<string, HTMLInputElement>} */
  fields = new Map();
  entries = h("ol", { class: "entries" });
  end = h("p", { class: "quiet", role: "status" });
  fresh = h("button", { hidden: true, onclick: () => this.begin() }, "Show what came since");
  #next = "";
  #loading = false;
  #asked = "";
  #seen = new IntersectionObserver((seen) => seen.some((e) => e.isIntersecting) && this.load(), { rootMargin: "600px" });

  get heading() {
    return "Audit";
  }

  connectedCallback() {
    this.form.append(this.type);
    for (const [name, label] of texts) {
      const field = h("input", { type: "text", placeholder: label, "aria-label": label, title: name === "from" || name === "to" ? 'a time (2026-11-25T03:12:00Z), a position, or "5m ago"' : label, onchange: () => this.filter() });
      this.fields.set(name, field);
      this.form.append(field);
    }
    this.form.append(h("button", {}, "Filter"), h("span", { class: "grow" }),
      h("button", { type: "button", onclick: () => this.take("csv") }, "Export CSV"), h("button", { type: "button", onclick: () => this.take("ndjson") }, "Export NDJSON"));
    this.append(h("h1", {}, "Audit"), this.form, this.fresh, h("section", { "aria-label": "Events" }, this.entries, this.end));
    this.routed();
    this.#seen.observe(this.end);
    this.gone.signal.addEventListener("abort", () => this.#seen.disconnect());
  }

  filter() {
    /** @type {Record<string, string>} */
    const parameters = { type: this.type.value };
    for (const [name, field] of this.fields) parameters[name] = field.value.trim();
    set(parameters, { push: true });
  }

  routed() {
    const query = this.route.query;
    this.type.value = query.get("type") ?? "";
    for (const [name, field] of this.fields) field.value = query.get(name) ?? "";
    const asked = JSON.stringify(this.question());
    if (asked !== this.#asked) {
      this.#asked = asked;
      this.begin();
    }
    this.open(query.get("event") ?? "");
  }

  changed() {
    this.fresh.hidden = this.at !== "" || this.context.fleet.changes.length === 0 || this.entries.firstElementChild === null ||
      BigInt(this.context.fleet.changes[0].position.split("-")[0]) <= BigInt(/** @type {HTMLElement} */ (this.entries.firstElementChild).dataset.key?.split("-")[0] || "0");
  }

  /** @returns {[string, import("./api.js").Parameters]} */
  question() {
    const query = this.route.query;
    const value = (/** @type {string} */ name) => query.get(name) ?? "";
    const ns = value("ns") || "*";
    const parameters = { type: value("type"), actor: value("actor"), reason: value("reason"), from: value("from"), to: value("to") || this.at };
    const named = value("service").split("/");
    const service = named.pop() ?? "";
    if (!service) return ["/v1/history", { ns, ...parameters }];
    const namespace = named[0] || (ns === "*" ? "default" : ns);
    return [`${instancePath({ namespace, service })}/history`, { ns: namespace, ...parameters }];
  }

  begin() {
    this.#next = "";
    this.fresh.hidden = true;
    this.load(true);
  }

  /** @param {boolean} [anew] */
  async load(anew = false) {
    if (!anew && (this.#loading || !this.#next)) return;
    this.#loading = true;
    const asked = this.#asked;
    try {
      const [path, parameters] = this.question();
      const page = await get(path, { ...parameters, limit: 100, cursor: anew ? "" : this.#next }, this.gone.signal);
      if (asked !== this.#asked) return;
      const made = page.entries.map((/** @type {Entry} */ e) => keyed(e));
      if (anew) this.entries.replaceChildren(...made);
      else this.entries.append(...made);
      this.#next = page.next ?? "";
      const shown = this.entries.childElementCount;
      say(this.end, this.#next ? "more below" : shown ? `That is all: ${many(shown, "event")}.` : "Nothing happened that fits.");
    } catch (err) {
      if (aborted(err) || asked !== this.#asked) return;
      this.entries.replaceChildren();
      this.#next = "";
      this.end.replaceChildren(failure(words(err)));
    } finally {
      if (asked === this.#asked) this.#loading = false;
    }
    if (this.#next && this.end.getBoundingClientRect().top < innerHeight + 600) this.load();
  }

  /** Takes all that fits the filters away as a file. @param {"csv" | "ndjson"} format */
  async take(format) {
    const [path, parameters] = this.question();
    /** Pages as blobs: a browser keeps them out of its memory. @type {Blob[]} */
    const pages = format === "csv" ? [new Blob([`${csvHead}\n`])] : [];
    let cursor = "", read = 0;
    try {
      do {
        const page = await get(path, { ...parameters, limit: 1000, cursor }, this.gone.signal);
        pages.push(new Blob(page.entries.map((/** @type {Entry} */ e) => `${format === "csv" ? csv(e) : JSON.stringify(e)}\n`)));
        read += page.entries.length;
        cursor = page.next ?? "";
        say(this.end, `${many(read, "event")} read`);
      } while (cursor);
    } catch (err) {
      if (!aborted(err)) this.end.replaceChildren(failure(`Nothing was exported: ${words(err)}`));
      return;
    }
    const url = URL.createObjectURL(new Blob(pages, { type: format === "csv" ? "text/csv" : "application/x-ndjson" }));
    h("a", { href: url, download: `rollcall-audit.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say(this.end, `${many(read, "event")} exported`);
  }

  /** Shows one event. @param {string} position "": none */
  async open(position) {
    const old = /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog"));
    if (old?.dataset.position === position) return;
    old?.close();
    if (!position) return;
    const body = h("div");
    const dialog = h("dialog", { class: "event", "data-position": position, "aria-labelledby": "event-title" },
      h("div", { class: "head" }, h("h2", { id: "event-title" }, `Event at position ${position}`), h("span", { class: "grow" }), h("button", { onclick: () => dialog.close() }, "Close")), body);
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (this.route.query.get("event") === position) set({ event: "" });
    });
    this.append(dialog);
    dialog.showModal();
    try {
      const e = await entryAt(position);
      if (!e) {
        body.append(failure("There is no event at this position, or you may not see it."));
        return;
      }
      body.append(h("ol", { class: "entries" }, entry(e)));
      const mark = h("p", { class: "proof pending", role: "status" }, "verifying…");
      const json = h("pre", { tabindex: "0" }, JSON.stringify(e, null, 2));
      const steps = h("ul", { class: "steps quiet" });
      body.append(mark, steps, h("dl", { class: "facts" }, ...[["Recorded", timeOf(e.recorded_at)], ["Event id", e.event_id], ["Leaf", e.leaf], ["Request", e.request_id]]
        .filter(([, v]) => v !== undefined).map(([name, v]) => h("div", {}, h("dt", {}, String(name)), h("dd", {}, v)))), json);
      try {
        const verdict = await verify(position, e.event_id ?? "");
        mark.className = `proof ${verdict.ok === null ? "unknown" : verdict.ok ? "good" : "bad"}`;
        say(mark, `${verdict.ok === null ? "?" : verdict.ok ? "✓" : "✕"} ${verdict.says}`);
        steps.append(...verdict.steps.map((step) => h("li", {}, step)));
        if (verdict.event) say(json, pretty(verdict.event));
      } catch (err) {
        mark.className = "proof unknown";
        say(mark, `? Not verified: ${words(err)}`);
      }
    } catch (err) {
      body.append(failure(words(err)));
    }
  }
}

/** @param {string} json */
function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/** @param {Entry} e */
function keyed(e) {
  const el = entry(e);
  el.dataset.key = e.position;
  return el;
}

/** @type {(keyof Entry)[]} */
const csvFields = ["position", "recorded_at", "namespace", "service", "id", "type", "summary", "actor", "source", "via", "request_id", "event_id", "leaf"];
const csvHead = csvFields.join(",");

/**
 * A line of CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe.
 * @param {Entry} e
 */
export function csv(e) {
  return csvFields.map((name) => {
    let text = String(e[name] ?? "");
    if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",");
}

customElements.define("rc-audit", Audit);
