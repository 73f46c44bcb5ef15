// What an operator may do from the page. Each act is confirmed, and shows the event that it made.
import { command, instancePath, words } from "./api.js";
import { h } from "./dom.js";
import { failure } from "./page.js";
import { toEvent } from "./route.js";

/**
 * @typedef {{name: string, title: string, says: string, reason: "needed" | "asked" | "", danger?: boolean,
 *   run: (reason: string) => Promise<any>}} Act
 */

/**
 * The buttons for an instance: those whose command the registry would take from the caller.
 * @param {import("./fleet.js").Instance} i
 * @param {import("./rights.js").Rights} rights
 */
export function offer(i, rights) {
  const path = instancePath(i);
  const traffic = (/** @type {string} */ to) => (/** @type {string} */ reason) => command("PUT", `${path}/traffic`, { ns: i.namespace }, { traffic: to, reason });
  /** @type {Act[]} */
  const acts = [];
  if (rights.may("traffic", i)) {
    const name = `${i.service}/${i.id}`;
    if (i.traffic === "serving") acts.push({ name: "Drain", title: `Drain ${name}?`, says: "It gets no new traffic until somebody lets it serve again, or its next epoch begins.", reason: "asked", run: traffic("draining") });
    if (i.traffic !== "maintenance") acts.push({ name: "Maintenance", title: `Put ${name} into maintenance?`, says: "It gets no traffic until somebody ends the maintenance, also when it registers again.", reason: "needed", run: traffic("maintenance") });
    if (i.traffic === "draining") acts.push({ name: "Let it serve", title: `Let ${name} serve again?`, says: "It gets traffic again.", reason: "asked", run: traffic("serving") });
    if (i.traffic === "maintenance") acts.push({ name: "End maintenance", title: `End the maintenance of ${name}?`, says: "It gets traffic again.", reason: "asked", run: traffic("serving") });
  }
  if (rights.may("write", i)) {
    acts.push({
      name: "Deregister", title: `Deregister ${i.service}/${i.id}?`, says: "It leaves the catalog at once. A process that still runs may register again.", reason: "needed", danger: true,
      run: (reason) => command("DELETE", path, { ns: i.namespace, epoch: i.epoch, reason }),
    });
  }
  return acts.map(button);
}

/** @param {Act} act */
export function button(act) {
  return h("button", { class: act.danger ? "danger" : "", onclick: () => confirm(act) }, act.name);
}

/** @param {Act} act */
function confirm(act) {
  const reason = h("input", { id: "reason", type: "text", maxlength: 1000, required: act.reason === "needed", autocomplete: "off" });
  const problem = h("div");
  const run = h("button", { class: act.danger ? "danger" : "primary" }, act.name);
  const dialog = h("dialog", { class: "confirm", "aria-labelledby": "confirm-title" });
  dialog.append(h("form", { onsubmit: async (/** @type {Event} */ e) => {
    e.preventDefault();
    run.disabled = true;
    try {
      const result = await act.run(reason.value.trim());
      dialog.close();
      told(act.name, result?.position ?? "");
      dispatchEvent(new Event("rollcall-acted"));
    } catch (err) {
      problem.replaceChildren(failure(words(err)));
      run.disabled = false;
    }
  } },
    h("h2", { id: "confirm-title" }, act.title), h("p", {}, act.says),
    act.reason && h("label", { for: "reason" }, act.reason === "needed" ? "Reason (needed)" : "Reason"), act.reason && reason, problem,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), run)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * Says that a command was carried out.
 * @param {string} name
 * @param {string} position of its event; "": it is not known
 */
function told(name, position) {
  document.querySelector(".told")?.remove();
  const el = h("p", { class: "told", role: "status" }, `${name}: done. `, position && h("a", { href: toEvent(position) }, `Event #${position}`), " ",
    h("button", { class: "plain", "aria-label": "Close", onclick: () => el.remove() }, "✕"));
  document.body.append(el);
}
