// What differs between a moment and now, and which event made each difference.
import { aborted, get, words } from "./api.js";
import { h } from "./dom.js";
import { entry, failure, Page } from "./page.js";
import { toInstance } from "./route.js";
import { many, momentOf, time, value } from "./words.js";

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
    } catch (err) {
      if (!aborted(err) && from === this.at) this.body.replaceChildren(failure(words(err)));
    }
  }
}

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
      c.fields?.length ? h("ul", { class: "fields" }, ...c.fields.map((f) => h("li", {}, h("b", {}, f.field), ": ", h("del", {}, value(f.from)), " → ", h("ins", {}, value(f.to))))) : null,
      c.event ? h("ol", { class: "entries" }, entry(c.event, { subject: false })) : null))));
}

customElements.define("rc-diff", Diff);
