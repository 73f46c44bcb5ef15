// Which page an address means. Everything that a page shows is in its address, so that a colleague who opens it sees the same.

/**
 * @typedef {{page: string, namespace: string, service: string, id: string, query: URLSearchParams}} Route
 * namespace, service and id are "" where the page has none
 */

/** @returns {Route} */
export function route() {
  const [page = "", ...rest] = location.pathname.replace(/^\/ui\/?/, "").split("/").map(decoded);
  const [namespace = "", service = "", id = ""] = rest;
  return { page: page || "overview", namespace, service, id, query: new URLSearchParams(location.search) };
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
 * @param {Record<string, string>} [parameters]
 */
export function to(page, parts = [], parameters = {}) {
  const query = new URLSearchParams();
  const now = new URLSearchParams(location.search);
  for (const name of kept) {
    const value = now.get(name);
    if (value && !(name in parameters)) query.set(name, value);
  }
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
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

/** @param {string} position */
export const toEvent = (position) => to("audit", [], { event: position });

/** @param {string} href */
export function go(href) {
  if (href === location.pathname + location.search) return;
  history.pushState(null, "", href);
  dispatchEvent(new Event("rollcall-route"));
}

/**
 * Changes parameters of the address; "" takes one out.
 * @param {Record<string, string>} parameters
 * @param {{push?: boolean}} [options] push makes a step to which the browser's Back returns
 */
export function set(parameters, options = {}) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(parameters)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const href = query.size ? `${location.pathname}?${query}` : location.pathname;
  if (href === location.pathname + location.search) return;
  if (options.push) history.pushState(null, "", href);
  else history.replaceState(null, "", href);
  dispatchEvent(new Event("rollcall-route"));
}

/** Follows links within the UI without loading the page again. */
export function followLinks() {
  addEventListener("popstate", () => dispatchEvent(new Event("rollcall-route")));
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const link = e.target instanceof Element ? e.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || !link.pathname.startsWith("/ui/")) return;
    e.preventDefault();
    go(link.pathname + link.search);
  });
}
