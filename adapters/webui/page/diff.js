// What differs between a moment and now, and which event made each difference.
import { aborted, get, instancePath, words } from "./api.js";
import { h } from "./dom.js";
import { entry, failure, Page } from "./page.js";
import { toEvent, toInstance } from "./route.js";
import { many, momentOf, time, value } from "./words.js";

const mostAsked = 100; // instances whose fields are traced, each to its own event

/** @typedef {{namespace: string, service: string, id: string, fields?: {field: string, from: any, to: any}[], event?: import("./fleet.js").Entry}} Change */

class Diff extends Page {
  body = h("div");

  get heading() {
    return "Compare with now";
  }

  connectedCallback() {
    this.append(h("h1", {}, "Compare with now"), this.body);
    this.routed();
  }

  async routed() {
    const from = this.at;
    if (!from) {
      this.body.replaceChildren(h("p", {}, "Drag the time slider to a moment: this page then says what has changed since."));
      return;
    }
    try {
      const ns = this.route.query.get("ns") || "*";
      const diff = await get("/v1/diff", { ns, from }, this.gone.signal);
      if (from !== this.at) return;
      const when = Number.isNaN(momentOf(from)) ? `position ${from}` : time(from);
      const none = diff.added.length + diff.removed.length + diff.changed.length === 0;
      this.body.replaceChildren(
        h("p", {}, none ? `The fleet is as it was at ${when}.` : `Since ${when}:`),
        section("added", "Added", diff.added), section("removed", "Removed", diff.removed), section("changed", "Changed", diff.changed),
        diff.next ? h("p", { class: "quiet" }, "There are more differences: choose a namespace, or a later moment.") : "");
      this.trace(diff.changed, diff.from.position);
    } catch (err) {
      if (!aborted(err) && from === this.at) this.body.replaceChildren(failure(words(err)));
    }
  }

  /**
   * Finds the event of each field where several events changed an instance.
   * @param {Change[]} changes
   * @param {string} since
   */
  async trace(changes, since) {
    const at = this.at;
    const several = changes.filter((c) => c.fields?.some((f) => f.field === "revision" && f.to - f.from > 1)).slice(0, mostAsked);
    for (const c of several) {
      try {
        const { entries } = await get(`${instancePath(c)}/history`, { ns: c.namespace, from: since, limit: 200 }, this.gone.signal);
        if (at !== this.at) return;
        for (const f of c.fields ?? []) {
          const made = entries.find((/** @type {import("./fleet.js").Entry} */ e) => e.changes?.some((change) => change.field === f.field));
          if (made) this.body.querySelector(`[data-field="${CSS.escape(fieldKey(c, f.field))}"]`)?.append(" ", h("a", { href: toEvent(made.position), title: made.summary }, `#${made.position}`));
        }
      } catch {
        return; // the newest event of each instance is there
      }
    }
  }
}

/**
 * @param {Change} c
 * @param {string} field
 */
const fieldKey = (c, field) => `${c.namespace}/${c.service}/${c.id}/${field}`;

/**
 * @param {string} id
 * @param {string} name
 * @param {Change[]} changes
 */
function section(id, name, changes) {
  if (changes.length === 0) return "";
  return h("section", { "aria-labelledby": id, class: id }, h("h2", { id }, `${name}: ${many(changes.length, "instance")}`),
    h("ul", { class: "differences" }, ...changes.map((c) => h("li", {},
      h("a", { href: toInstance(c) }, h("b", {}, `${c.service}/${c.id}`)), h("span", { class: "quiet" }, ` ${c.namespace}`),
      c.fields?.length ? h("ul", { class: "fields" }, ...c.fields.map((f) => h("li", { "data-field": fieldKey(c, f.field) }, h("b", {}, f.field), ": ", h("del", {}, value(f.from)), " → ", h("ins", {}, value(f.to))))) : null,
      c.event ? h("ol", { class: "entries" }, entry(c.event, { subject: false })) : null))));
}

customElements.define("rc-diff", Diff);
