// The filters of a list of instances, in the address as the API takes them (GET /v1/services/{service}/instances).
import { keyOf } from "./fleet.js";
import { milliseconds } from "./words.js";

/** @typedef {import("./fleet.js").Instance} Instance */

/** The filters that a menu offers. Of the API's filters traffic is not one. */
export const menus = ["status", "traffic", "zone", "version", "tag"];

/** Whether a parameter is a filter that no menu offers. @param {string} name */
const other = (name) => ["ready", "check", "max_silence"].includes(name) || name.startsWith("meta.");

/**
 * The filters in the address that no menu offers, or that are given more than once.
 * @param {URLSearchParams} query
 * @returns {[string, string][]}
 */
export const others = (query) => [...query].filter(([name, value]) => value && (other(name) || (menus.includes(name) && !plain(query, name))));

/**
 * Whether a menu can show the filter: at most one value.
 * @param {URLSearchParams} query
 * @param {string} name
 */
export function plain(query, name) {
  const all = query.getAll(name);
  return all.length < 2 && !(name === "status" && all[0]?.includes(","));
}

/**
 * Says which instances the filters pick.
 * @param {URLSearchParams} query
 * @param {Map<string, number>} heard when each instance was last heard, by its key
 * @returns {(i: Instance) => boolean}
 */
export function picks(query, heard) {
  const all = (/** @type {string} */ name) => query.getAll(name).filter(Boolean);
  const statuses = all("status").flatMap((list) => list.split(","));
  const [traffic = ""] = all("traffic"), [zone = ""] = all("zone"), [version = ""] = all("version");
  const ready = ["true", "1"].includes(all("ready")[0] ?? "");
  const silence = Number(all("max_silence")[0] ?? 0);
  const tags = all("tag"), checks = all("check");
  const meta = [...query].filter(([name]) => name.startsWith("meta.")).map(([name, value]) => [name.slice(5), value]);
  return (i) => (statuses.length === 0 || statuses.includes(i.status)) && (!traffic || i.traffic === traffic) && (!zone || i.zone === zone) && (!version || i.version === version) &&
    (!ready || (i.traffic === "serving" && (i.status === "passing" || i.status === "warning"))) &&
    tags.every((tag) => i.tags?.includes(tag)) && meta.every(([key, value]) => i.metadata?.[key] === value) && checks.every((check) => hasCheck(i, check)) &&
    (!silence || !i.ttl || !heard.has(keyOf(i)) || Date.now() - (heard.get(keyOf(i)) ?? 0) <= silence * milliseconds(i.ttl));
}

/**
 * @param {Instance} i
 * @param {string} check an id, id:status or *:status
 */
function hasCheck(i, check) {
  const [, id, status] = /^(.*):(starting|passing|warning|critical)$/s.exec(check) ?? [check, check, ""];
  return (i.checks ?? []).some((c) => (id === "*" || c.id === id) && (!status || c.status === status));
}
