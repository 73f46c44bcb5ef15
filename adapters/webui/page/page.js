// What all pages share: their life, and the small parts that several of them show.
import { h, rested, s, say } from "./dom.js";
import { states } from "./fleet.js";
import { to, toInstance, toService } from "./route.js";
import { ago, momentOf, time, value } from "./words.js";

/**
 * @typedef {{fleet: import("./fleet.js").Fleet, rights: import("./rights.js").Rights}} Context
 * @typedef {import("./route.js").Route} Route
 */

/** A page is an element that the app puts up for a route. */
export class Page extends HTMLElement {
  /** @type {Context} */
  context = /** @type {any} */ (undefined); // set before the page is put up
  /** @type {Route} */
  route = /** @type {any} */ (undefined);
  /** Ends when the page is taken down. */
  gone = new AbortController();

  disconnectedCallback() {
    this.gone.abort();
  }

  /** The moment that is shown; "": now. */
  get at() {
    return this.route.query.get("at") ?? "";
  }

  /** What "ago" counts from, in ms. */
  get now() {
    return momentOf(this.at) || Date.now();
  }

  /** The title of the page. */
  get heading() {
    return "";
  }

  /** The address has changed, and is still this page's. */
  routed() {}

  /** The fleet or the state of the connection has changed. */
  changed() {}
}

/** Marks by which a state is known without its colour. @type {Record<string, string>} */
const marks = { passing: "✓", warning: "!", critical: "✕", starting: "…", draining: "↓", maintenance: "‖" };

/** @param {string} state */
export function chip(state) {
  return h("span", { class: `chip ${state}` }, h("span", { "aria-hidden": "true" }, marks[state] ?? "?"), ` ${state}`);
}

/** Turns a chip into that of another state. @param {HTMLElement} el @param {string} state */
export function rechip(el, state) {
  if (el.className === `chip ${state}`) return;
  el.replaceWith(chip(state));
}

/**
 * A bar whose parts are as wide as the counts.
 * @param {Record<string, number>} counts
 */
export function bar(counts) {
  const el = h("div", { class: "bar", role: "img" });
  drawBar(el, counts);
  return el;
}

/**
 * @param {HTMLElement} el
 * @param {Record<string, number>} counts
 */
export function drawBar(el, counts) {
  const told = states.filter((state) => counts[state]).map((state) => `${counts[state]} ${state}`).join(", ") || "no instances";
  if (el.getAttribute("aria-label") === told) return;
  el.setAttribute("aria-label", told);
  el.title = told;
  el.replaceChildren(...states.filter((state) => counts[state]).map((state) => {
    const part = h("span", { class: state });
    part.style.flexGrow = String(counts[state]);
    return part;
  }));
}

/** @param {string} at */
export function timeOf(at) {
  return h("time", { datetime: at, title: ago(at) }, time(at));
}

/** @param {{namespace?: string, service?: string, id?: string}} of */
export function subject(of) {
  if (!of.namespace || !of.service) return h("span", { class: "quiet" }, "the registry");
  if (!of.id) return h("a", { href: toService(of.namespace, of.service) }, of.service);
  return h("a", { href: toInstance({ namespace: of.namespace, service: of.service, id: of.id }) }, `${of.service}/${of.id}`);
}

/**
 * The newest changes, at most so many: those that the stream has told, and what was read of the history before.
 * @param {import("./fleet.js").Entry[]} live newest first
 * @param {import("./fleet.js").Entry[]} earlier newest first
 * @param {number} most
 */
export function newest(live, earlier, most) {
  const had = new Set(live.map((e) => e.position));
  return [...live, ...earlier.filter((e) => !had.has(e.position))].slice(0, most);
}

/**
 * One change of the history, in words.
 * @param {import("./fleet.js").Entry} e
 * @param {{subject?: boolean}} [options]
 */
export function entry(e, options = {}) {
  const who = [e.actor && `by ${e.actor}`, e.source && `from ${e.source}`, e.via && `via ${e.via}`].filter(Boolean).join(" ");
  return h("li", { class: `entry ${e.type}` },
    h("div", { class: "when" }, timeOf(e.recorded_at)),
    h("div", { class: "what" },
      options.subject !== false && subject(e), options.subject !== false && " ",
      h("span", {}, e.summary),
      e.changes?.length ? h("ul", { class: "fields" }, ...e.changes.map((c) =>
        h("li", {}, h("b", {}, c.field), ": ", h("del", {}, value(c.from)), " → ", h("ins", {}, value(c.to))))) : null),
    h("div", { class: "who quiet" }, who, who && " · ", h("a", { href: to("audit", [], { event: e.position }), title: "The event and its proof" }, `#${e.position}`)));
}

/** @param {string} text */
export function failure(text) {
  return h("p", { class: "failure", role: "alert" }, text);
}

/** @param {string} path the d of a path in a box of 16 */
export function icon(path) {
  return s("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));
}

/**
 * A link that is seen when it has the focus, and leads past what is between.
 * @param {string} text
 * @param {HTMLElement} to has an id
 */
export function skip(text, to) {
  to.tabIndex = -1;
  return h("a", { href: `#${to.id}`, class: "skip", onclick: (/** @type {Event} */ e) => {
    e.preventDefault(); // it is no step of the browser's history
    to.focus();
  } }, text);
}

const countRests = 800; // ms

/**
 * Tells a screen reader how many rows the filters have left: when the filters rest, and not at each keystroke, nor as the fleet
 * changes.
 */
export class Counted {
  el = h("span", { class: "hidden", role: "status" });
  #filters = "";
  #text = "";
  #known = false;
  #tell = rested(countRests, () => say(this.el, this.#text));

  /**
   * @param {string} filters what was chosen: another choice is told of
   * @param {string} text how many rows are shown
   */
  shows(filters, text) {
    this.#text = text;
    if (this.#known && filters !== this.#filters) this.#tell();
    this.#known = true;
    this.#filters = filters;
  }
}

/** What a page says that shows the present while others show the past. @param {string} at */
export function presentOnly(at) {
  return at ? h("p", { class: "past-not" }, "This page knows no past: it shows what is so now. Nothing can be changed until you go back to now.") : "";
}

/**
 * A table that scrolls to the side where it must.
 * @param {string} labelledBy the id of its heading
 * @param {string[]} names of the columns; "": a column of buttons
 * @param {Node[]} rows
 */
export function table(labelledBy, names, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": labelledBy },
    h("table", {}, h("thead", {}, h("tr", {}, ...names.map((name) => (name ? h("th", { scope: "col" }, name) : h("td"))))), h("tbody", {}, ...rows)));
}
