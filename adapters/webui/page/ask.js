// Asks whoever acts for what is needed, and then tells which event the act made.
import { get, words } from "./api.js";
import { h } from "./dom.js";
import { failure } from "./page.js";
import { toEvent } from "./route.js";

/**
 * @typedef {{name: string, label: string, kind?: "text" | "list" | "choice" | "many" | "grants", needed?: boolean, hint?: string, value?: string,
 *   options?: [string, string][]}} Field
 * of kind list: texts between commas; choice and many: of the options, which are values and labels
 * @typedef {Record<string, any>} Values by the names of the fields: a text, or an array for lists, many and grants
 * @typedef {{name: string, title: string, says?: string, reason?: "needed" | "asked", fields?: Field[], danger?: boolean,
 *   run: (values: Values) => Promise<any>, secret?: string}} Act
 * secret says what the secret of the result is; "": the result has none that is shown
 */

export const verbs = ["read-catalog", "write", "write-own", "traffic", "read-history", "read-events", "webhooks", "access", "operate"];

/** @param {Act} act */
export function button(act) {
  return h("button", { class: act.danger ? "danger" : "", onclick: () => ask(act) }, act.name);
}

let dialogs = 0; // that were opened

/** @param {Act} act */
function ask(act) {
  const prefix = `ask-${++dialogs}-`;
  /** @type {Field[]} */
  const fields = [...(act.fields ?? [])];
  if (act.reason) fields.push({ name: "reason", label: act.reason === "needed" ? "Reason (needed)" : "Reason", needed: act.reason === "needed" });
  const inputs = fields.map((field) => input(field, prefix + field.name));
  const problem = h("div");
  const run = h("button", { class: act.danger ? "danger" : "primary" }, act.name);
  const dialog = h("dialog", { class: "confirm", "aria-labelledby": `${prefix}title` });
  dialog.append(h("form", { onsubmit: async (/** @type {Event} */ e) => {
    e.preventDefault();
    if (run.ariaDisabled) return;
    run.ariaDisabled = "true"; // and keeps the focus, as a button that is disabled does not
    problem.replaceChildren();
    try {
      const result = await act.run(Object.fromEntries(fields.map((field, n) => [field.name, inputs[n].value()])));
      dialog.close();
      if (act.secret && result.secret) showSecret(act.secret, result.secret);
      tell(act.name, result);
      dispatchEvent(new Event("rollcall-acted"));
    } catch (err) {
      problem.replaceChildren(failure(words(err)));
      run.ariaDisabled = null;
    }
  } },
    h("h2", { id: `${prefix}title` }, act.title), act.says && h("p", {}, act.says),
    ...inputs.map((one) => one.el), problem,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), run)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * What somebody fills in for a field.
 * @param {Field} field
 * @param {string} id
 * @returns {{el: HTMLElement, value: () => any}}
 */
function input(field, id) {
  if (field.kind === "grants") return grants();
  if (field.kind === "many") return boxes(field.label, (field.options ?? []), field.needed);
  const hint = field.hint ? h("small", { id: `${id}-hint` }, field.hint) : null;
  const common = { id, required: Boolean(field.needed), "aria-describedby": hint ? `${id}-hint` : undefined };
  const el = field.kind === "choice"
    ? h("select", common, ...(field.options ?? []).map(([value, label]) => h("option", { value }, label)))
    : h("input", { ...common, type: "text", autocomplete: "off", spellcheck: "false", maxlength: 2048 });
  if (field.value !== undefined) el.value = field.value;
  return {
    el: h("div", { class: "field" }, h("label", { for: id }, field.label), el, hint),
    value: () => (field.kind === "list" ? parts(el.value) : el.value.trim()),
  };
}

/** @param {string} text */
const parts = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

/**
 * @param {string} label
 * @param {[string, string][]} options
 * @param {boolean} [needed] at least one of them
 */
function boxes(label, options, needed) {
  const all = options.map(([value, text]) => ({ value, text, box: h("input", { type: "checkbox", value }) }));
  const check = () => all[0]?.box.setCustomValidity(needed && !all.some(({ box }) => box.checked) ? "Choose at least one." : "");
  for (const { box } of all) box.addEventListener("change", check);
  check();
  return {
    el: h("fieldset", {}, h("legend", {}, label), ...all.map(({ text, box }) => h("label", { class: "box" }, box, ` ${text}`))),
    value: () => all.filter(({ box }) => box.checked).map(({ value }) => value),
  };
}

/** The grants of a role: what may be done to which services of which namespaces. */
function grants() {
  /** @type {{verbs: {value: () => string[]}, namespace: HTMLInputElement, service: HTMLInputElement}[]} */
  const rows = [];
  const list = h("div");
  const add = () => {
    const row = { verbs: boxes("May", verbs.map((v) => [v, v]), true), namespace: h("input", { type: "text", value: "*", required: true }), service: h("input", { type: "text", value: "*", required: true }) };
    rows.push(row);
    list.append(h("div", { class: "grant" }, row.verbs.el, h("label", {}, "in the namespaces", row.namespace), h("label", {}, "on the services", row.service)));
  };
  add();
  return {
    el: h("div", {}, list, h("button", { type: "button", onclick: add }, "Another grant")),
    value: () => rows.map((row) => ({ verbs: row.verbs.value(), namespace: row.namespace.value.trim(), service: row.service.value.trim() })),
  };
}

/**
 * Shows a secret, which no one can ask for again.
 * @param {string} what
 * @param {string} secret
 */
function showSecret(what, secret) {
  const copied = h("span", { role: "status", class: "quiet" });
  const copy = () => navigator.clipboard.writeText(secret).then(() => copied.replaceChildren("copied"), () => copied.replaceChildren("this browser does not allow copying: select the text"));
  const dialog = h("dialog", { class: "secret", "aria-labelledby": "secret-title" });
  dialog.append(h("h2", { id: "secret-title" }, what), h("p", {}, "It is shown now, and never again. Keep it where only its user can read it."), h("pre", { tabindex: "0" }, secret),
    h("div", { class: "buttons" }, copied, navigator.clipboard && h("button", { onclick: copy }, "Copy"), h("button", { class: "primary", onclick: () => dialog.close() }, "I have it")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * Says that a command was carried out, and which event it made.
 * @param {string} name
 * @param {{position?: string, request_id?: string}} result
 */
async function tell(name, result) {
  document.querySelector(".told")?.remove();
  const link = h("span");
  const el = h("p", { class: "told", role: "status" }, `${name}: done. `, link, " ", h("button", { class: "plain", "aria-label": "Close", onclick: () => el.remove() }, "✕"));
  document.body.append(el);
  const position = result.position ?? (await eventOf(result.request_id ?? ""));
  if (position) link.append(h("a", { href: toEvent(position) }, `Event #${position}`));
}

const looks = 20; // for an event that the history may not have yet
const pause = 250; // ms between two looks

/** The position of the event that a request made; "": the caller may not see it. @param {string} request */
async function eventOf(request) {
  for (let n = 0; request && n < looks; n++) {
    try {
      const { entries } = await get("/v1/history", { ns: "*", limit: 50 });
      const made = entries.find((/** @type {import("./fleet.js").Entry} */ e) => e.request_id === request);
      if (made) return made.position;
    } catch {
      return "";
    }
    await new Promise((resume) => setTimeout(resume, pause));
  }
  return "";
}
