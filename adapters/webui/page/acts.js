// What may be done to an instance from the page.
import { command, instancePath } from "./api.js";
import { button } from "./ask.js";

/** @typedef {import("./ask.js").Act} Act */

/**
 * The buttons for an instance: those whose command the registry would take from the caller.
 * @param {import("./fleet.js").Instance} i
 * @param {import("./rights.js").Rights} rights
 */
export function offer(i, rights) {
  const path = instancePath(i), name = `${i.service}/${i.id}`;
  const traffic = (/** @type {string} */ to) => (/** @type {import("./ask.js").Values} */ { reason }) => command("PUT", `${path}/traffic`, { ns: i.namespace }, { traffic: to, reason });
  const own = rights.owns(i);
  /** @type {Act[]} */
  const acts = [];
  if (rights.may("traffic", i) || (own && i.traffic !== "maintenance")) {
    if (i.traffic === "serving") acts.push({ name: "Drain", title: `Drain ${name}?`, says: "It gets no new traffic until somebody lets it serve again, or its next epoch begins.", reason: "asked", run: traffic("draining") });
    if (i.traffic === "draining") acts.push({ name: "Let it serve", title: `Let ${name} serve again?`, says: "It gets traffic again.", reason: "asked", run: traffic("serving") });
  }
  if (rights.may("traffic", i)) {
    if (i.traffic !== "maintenance") acts.push({ name: "Maintenance", title: `Put ${name} into maintenance?`, says: "It gets no traffic until somebody ends the maintenance, also when it registers again.", reason: "needed", run: traffic("maintenance") });
    if (i.traffic === "maintenance") acts.push({ name: "End maintenance", title: `End the maintenance of ${name}?`, says: "It gets traffic again.", reason: "asked", run: traffic("serving") });
  }
  if (rights.may("write", i) || own) {
    acts.push({
      name: "Deregister", title: `Deregister ${name}?`, says: "It leaves the catalog at once. A process that still runs may register again.", reason: "needed", danger: true,
      run: ({ reason }) => command("DELETE", path, { ns: i.namespace, epoch: i.epoch, reason }),
    });
  }
  return acts.map(button);
}
