// Which page an address means. Everything that a page shows is in its address, so that a colleague who opens it sees the same.

import { keep, keepAlways } from "./place.js";

/**
 * @typedef {{page: string, namespace: string, service: string, id: string, query: URLSearchParams}} Route
 * namespace, service and id are "" where the page has none
 */

/** @returns {Route} */
export function route() {
  const [page = "", ...rest] = location.pathname.replace(/^\/ui\/?/, "").split("/").map(decoded);
  const [namespace = "", service = "", id = ""] = rest;
  return { page: page || "overview", namespace, service, id, query: parameters() };
}

/** Parameters that change quickly, by a slider that is dragged or a text that is typed, and that the address has not yet. @type {Record<string, string>} */
let pending = {};
let writing = 0;
const writeAfter = 250; // ms: browsers take some 20 changes of the address a second, and drop what is more

/**
 * @param {URLSearchParams} query
 * @param {Record<string, string>} changed
 */
function merge(query, changed) {
  for (const [name, value] of Object.entries(changed)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  return query;
}

/** The parameters of the address, with those that it has not yet. */
const parameters = () => merge(new URLSearchParams(location.search), pending);

/** Changes a parameter that is about to be changed again: the address follows when it rests. @param {string} name @param {string} value */
export function drag(name, value) {
  if (value === (parameters().get(name) ?? "")) return;
  pending[name] = value;
  clearTimeout(writing);
  writing = setTimeout(() => write({}), writeAfter);
  dispatchEvent(new Event("rollcall-route"));
}

/**
 * Writes parameters to the address, and those that it has not yet.
 * @param {Record<string, string>} changed
 * @param {boolean} [push] makes a step to which the browser's Back returns
 */
function write(changed, push = false) {
  const query = merge(parameters(), changed);
  clearTimeout(writing);
  pending = {};
  const href = query.size ? `${location.pathname}?${query}` : location.pathname;
  if (href === location.pathname + location.search) return;
  if (push) {
    keep();
    history.pushState({ y: scrollY }, "", href); // the page stays as it is
  } else history.replaceState(history.state, "", href);
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The parameters that go along from page to page. */
const kept = ["at", "ns", "span"];

/**
 * The address of a page, at the moment that is shown now.
 * @param {string} page
 * @param {string[]} parts
 * @param {Record<string, string>} [more]
 */
export function to(page, parts = [], more = {}) {
  const query = new URLSearchParams();
  const now = parameters();
  for (const name of kept) {
    const value = now.get(name);
    if (value && !(name in more)) query.set(name, value);
  }
  for (const [name, value] of Object.entries(more)) if (value) query.set(name, value);
  const path = ["/ui", ...(page === "overview" ? [""] : [page, ...parts.map(encodeURIComponent)])].join("/");
  return query.size ? `${path}?${query}` : path;
}

/** @param {{namespace: string, service: string, id: string}} i */
export const toInstance = (i) => to("instance", [i.namespace, i.service, i.id]);

/**
 * @param {string} namespace
 * @param {string} service
 */
export const toService = (namespace, service) => to("service", [namespace, service]);

/** @param {string} id */
export const toWebhook = (id) => to("webhook", [id]);

/** @param {string} position */
export const toEvent = (position) => to("audit", [], { event: position });

/** @param {string} href */
export function go(href) {
  write({});
  if (href === location.pathname + location.search) return;
  keep(href);
  history.pushState(null, "", href);
  dispatchEvent(new Event("rollcall-route"));
}

/**
 * Changes parameters of the address; "" takes one out.
 * @param {Record<string, string>} changed
 * @param {{push?: boolean}} [options] push makes a step to which the browser's Back returns
 */
export function set(changed, options = {}) {
  const before = String(parameters());
  write(changed, options.push);
  if (String(parameters()) !== before) dispatchEvent(new Event("rollcall-route"));
}

/** Follows links within the UI without loading the page again. */
export function followLinks() {
  keepAlways();
  addEventListener("popstate", () => {
    clearTimeout(writing);
    pending = {};
    dispatchEvent(new CustomEvent("rollcall-route", { detail: "back" }));
  });
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const link = e.target instanceof Element ? e.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || !link.pathname.startsWith("/ui/")) return;
    e.preventDefault();
    go(link.pathname + link.search);
  });
}
