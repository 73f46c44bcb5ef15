// Tokens and roles, as whoever manages access sees and changes them.
import { command, get } from "./api.js";
import { button } from "./ask.js";
import { h } from "./dom.js";
import { table, timeOf } from "./page.js";
import { filled } from "./webhook.js";

/**
 * @typedef {{name: string, roles: string[], namespaces?: string[], services?: string[], instances?: string[], networks?: string[], description?: string,
 *   expires?: string, last_used?: string, revoked?: boolean}} Token
 * @typedef {{name: string, description?: string, built_in?: boolean, grants: {verbs: string[], namespace?: string, service?: string}[]}} Role
 * @typedef {import("./ask.js").Act} Act
 */

const day = 24 * 3600 * 1000;
/** @type {[string, string][]} */
const lifetimes = [[String(30 * day), "30 days"], [String(day), "a day"], [String(90 * day), "90 days"], [String(365 * day), "a year"], ["", "for ever"]];
/** @type {[string, string][]} */
const overlaps = [["", "at once"], ["10m", "10 minutes"], ["1h", "an hour"], ["24h", "a day"], ["168h", "a week"]];
const secret = "The token's secret";

/** @param {string} name */
const tokenPath = (name) => `/v1/access/tokens/${encodeURIComponent(name)}`;

/** @param {Role[]} roles @returns {Act} */
const createToken = (roles) => ({
  name: "Create a token", title: "Create a token", says: "Its name is the actor of what its bearer does. A name is used once.", secret,
  fields: [
    { name: "name", label: "Name (needed)", needed: true },
    { name: "roles", label: "Roles", kind: "many", needed: true, options: roles.map((r) => [r.name, r.name]) },
    { name: "lifetime", label: "Good for", kind: "choice", options: lifetimes },
    { name: "namespaces", label: "Only in these namespaces", kind: "list", hint: "shop, pay*" },
    { name: "services", label: "Only these services", kind: "list" },
    { name: "instances", label: "May change these instances only", kind: "list" },
    { name: "networks", label: "Only from these networks", kind: "list", hint: "10.0.0.0/8" },
    { name: "description", label: "Description" },
  ],
  run: ({ lifetime, ...values }) => command("POST", "/v1/access/tokens", {}, { ...filled(values), ...(lifetime ? { expires: new Date(Date.now() + Number(lifetime)).toISOString() } : {}) }),
});

/** @type {Act} */
const createRole = {
  name: "Create a role", title: "Create a role, or change it", says: "A role of this name that exists is replaced.",
  fields: [{ name: "name", label: "Name (needed)", needed: true }, { name: "description", label: "Description" }, { name: "grants", label: "Grants", kind: "grants" }],
  run: ({ name, description, grants }) => command("PUT", `/v1/access/roles/${encodeURIComponent(name)}`, {}, { description, grants }),
};

/** @param {Token} t @param {string} self the name of the caller */
function tokenActs(t, self) {
  if (t.revoked) return [];
  return [
    button({
      name: "Rotate", title: `Give the token ${t.name} another secret?`, says: "Its bearers need the new secret.", secret,
      fields: [{ name: "keep_old", label: "The old secret ends", kind: "choice", options: overlaps }],
      run: ({ keep_old }) => command("POST", `${tokenPath(t.name)}/rotate`, {}, keep_old ? { keep_old } : {}),
    }),
    button({
      name: "Revoke", title: `Revoke the token ${t.name}?`, says: t.name === self ? "It is the token with which you signed in." : "Its bearers are refused at once.", reason: "needed", danger: true,
      run: ({ reason }) => command("DELETE", tokenPath(t.name), { reason }),
    }),
  ];
}

/** @param {Role} r */
const roleActs = (r) => (r.built_in ? [] : [button({
  name: "Remove", title: `Remove the role ${r.name}?`, says: "Tokens that have it lose what it grants.", reason: "needed", danger: true,
  run: ({ reason }) => command("DELETE", `/v1/access/roles/${encodeURIComponent(r.name)}`, { reason }),
})]);

/** @param {Role["grants"][0]} g */
const grant = (g) => `${g.verbs.join(", ")} in ${g.namespace || "*"}/${g.service || "*"}`;

/**
 * The tables of tokens and roles.
 * @param {import("./rights.js").Rights} rights
 * @param {boolean} past nothing can be changed
 * @param {AbortSignal} signal
 */
export async function readAccess(rights, past, signal) {
  if (!rights.controlled) return [h("p", {}, "Access is off: whoever reaches the registry may do everything.")];
  if (!rights.may("access")) return [h("p", { class: "quiet" }, "You have no right to manage access.")];
  /** @type {[{tokens: Token[]}, {roles: Role[]}]} */
  const [{ tokens }, { roles }] = await Promise.all([get("/v1/access/tokens", {}, signal), get("/v1/access/roles", {}, signal)]);
  const only = (/** @type {Token} */ t) => [...(t.namespaces ?? []), ...(t.services ?? []), ...(t.instances ?? []), ...(t.networks ?? [])].join(", ");
  return [
    past ? "" : h("div", { class: "head" }, button(createToken(roles)), button(createRole)),
    table("access", ["Token", "Roles", "Only for", "Good until", "Last used", ""], tokens.map((t) => h("tr", {},
      h("th", { scope: "row" }, t.name, t.description && h("small", {}, ` ${t.description}`)), h("td", {}, t.roles.join(", ")), h("td", {}, only(t)),
      h("td", {}, t.revoked ? "revoked" : t.expires ? timeOf(t.expires) : "for ever"), h("td", {}, t.last_used ? timeOf(t.last_used) : ""), h("td", { class: "acts" }, ...(past ? [] : tokenActs(t, rights.name)))))),
    table("access", ["Role", "Grants", "Made by", ""], roles.map((r) => h("tr", {},
      h("th", { scope: "row" }, r.name), h("td", {}, r.grants.map(grant).join("; ")), h("td", {}, r.built_in ? "Rollcall" : "an operator"), h("td", { class: "acts" }, ...(past ? [] : roleActs(r)))))),
  ];
}
