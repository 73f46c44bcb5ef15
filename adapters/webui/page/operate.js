// Operating the registry: where expiry is held, and the webhooks. Nothing is offered to whom it would be refused.
import { aborted, command, get, refused, words } from "./api.js";
import { button } from "./acts.js";
import { h } from "./dom.js";
import { failure, Page, timeOf } from "./page.js";
import { many } from "./words.js";

class Operate extends Page {
  preservation = h("div");
  webhooks = h("div");
  access = h("div");

  get heading() {
    return "Operate";
  }

  connectedCallback() {
    this.append(h("h1", {}, "Operate"),
      h("section", { "aria-labelledby": "preservation" }, h("h2", { id: "preservation" }, "Self-preservation"),
        h("p", { class: "quiet" }, "While expiry is held in a namespace, no lease lapses there: instances are kept that may be gone."), this.preservation),
      h("section", { "aria-labelledby": "webhooks" }, h("h2", { id: "webhooks" }, "Webhooks"), this.webhooks),
      h("section", { "aria-labelledby": "access" }, h("h2", { id: "access" }, "Tokens and roles"), this.access,
        h("p", { class: "quiet" }, "Tokens are made with ", h("code", {}, "rollcall token create"), ", and roles with ", h("code", {}, "rollcall role set"), ": a page shows no secrets.")));
    this.routed();
    const timer = setInterval(() => this.contains(document.activeElement) || this.routed(), 10_000); // who is about to press a button keeps it
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  routed() {
    this.fill(this.preservation, () => this.readPreservation());
    this.fill(this.webhooks, () => this.readWebhooks());
    this.fill(this.access, () => this.readAccess());
  }

  /**
   * @param {HTMLElement} el
   * @param {() => Promise<Node[]>} read
   */
  async fill(el, read) {
    try {
      const nodes = await read();
      el.replaceChildren(...nodes);
    } catch (err) {
      if (!aborted(err)) el.replaceChildren(refused(err) ? h("p", { class: "quiet" }, "You have no right to see this.") : failure(words(err)));
    }
  }

  async readPreservation() {
    const { rights } = this.context;
    const all = await get("/v1/preservation", {}, this.gone.signal);
    const rows = all.namespaces.map((/** @type {any} */ n) => {
      const whose = n.namespace === "*" ? "all other namespaces" : n.namespace;
      const path = "/v1/preservation", parameters = { ns: n.namespace };
      const act = n.held
        ? { name: "Let expiry go on", title: `Let leases expire in ${whose}?`, says: `${many(n.overdue, "lease")} past the deadline may expire at once.`, reason: /** @type {const} */ ("needed"), danger: n.overdue > 0, run: (/** @type {string} */ reason) => command("PUT", path, parameters, { held: false, reason }) }
        : { name: "Hold expiry", title: `Hold expiry in ${whose}?`, says: "No lease lapses there until somebody lets expiry go on.", reason: /** @type {const} */ ("needed"), run: (/** @type {string} */ reason) => command("PUT", path, parameters, { held: true, reason }) };
      return h("tr", {}, h("th", { scope: "row" }, whose), h("td", {}, n.held ? (n.forced ? "held by an operator" : "held: many leases lapsed at once") : "leases expire"),
        h("td", {}, n.since ? timeOf(n.since) : ""), h("td", {}, [n.actor, n.reason].filter(Boolean).join(": ")), h("td", { class: "number" }, `${n.overdue} / ${n.leases}`),
        h("td", {}, rights.may("operate", { namespace: n.namespace === "*" ? undefined : n.namespace }) && !this.at ? button(act) : null));
    });
    return [table("preservation", ["Namespace", "State", "Since", "By", "Overdue", ""], rows)];
  }

  async readAccess() {
    const { rights } = this.context;
    if (!rights.controlled) return [h("p", {}, "Access is off: whoever reaches the registry may do everything.")];
    if (!rights.may("access")) return [h("p", { class: "quiet" }, "You have no right to manage access.")];
    const [{ tokens }, { roles }] = await Promise.all([get("/v1/access/tokens", {}, this.gone.signal), get("/v1/access/roles", {}, this.gone.signal)]);
    const revoke = (/** @type {any} */ t) => button({
      name: "Revoke", title: `Revoke the token ${t.name}?`, says: t.name === rights.name ? "It is the token with which you signed in." : "Its bearers are refused at once.", reason: "needed", danger: true,
      run: (reason) => command("DELETE", `/v1/access/tokens/${encodeURIComponent(t.name)}`, { reason }),
    });
    return [
      table("access", ["Token", "Roles", "Only for", "Good until", "Last used", ""], tokens.map((/** @type {any} */ t) => h("tr", {},
        h("th", { scope: "row" }, t.name), h("td", {}, t.roles.join(", ")), h("td", {}, [...(t.namespaces ?? []), ...(t.services ?? []), ...(t.instances ?? []), ...(t.networks ?? [])].join(", ")),
        h("td", {}, t.expires ? timeOf(t.expires) : "for ever"), h("td", {}, t.last_used ? timeOf(t.last_used) : ""), h("td", {}, revoke(t))))),
      table("access", ["Role", "Grants", "Made by"], roles.map((/** @type {any} */ r) => h("tr", {},
        h("th", { scope: "row" }, r.name), h("td", {}, r.grants.map(grant).join("; ")), h("td", {}, r.built_in ? "Rollcall" : "an operator")))),
    ];
  }

  async readWebhooks() {
    const { rights } = this.context;
    if (!rights.may("webhooks")) return [h("p", { class: "quiet" }, "You have no right to manage webhooks.")];
    const all = await get("/v1/webhooks", { limit: 100 }, this.gone.signal);
    if (all.webhooks.length === 0) return [h("p", { class: "quiet" }, "There is no webhook.")];
    const rows = await Promise.all(all.webhooks.map(async (/** @type {any} */ w) => {
      const path = `/v1/webhooks/${encodeURIComponent(w.id)}`;
      const { attempts } = await get(`${path}/deliveries`, { limit: 1 }, this.gone.signal);
      const last = attempts[0];
      const toggle = w.paused
        ? { name: "Resume", title: `Resume the webhook to ${w.url}?`, says: "Events since the pause are delivered.", reason: /** @type {const} */ (""), run: () => command("POST", `${path}/resume`, {}) }
        : { name: "Pause", title: `Pause the webhook to ${w.url}?`, says: "Nothing is delivered until it is resumed.", reason: /** @type {const} */ ("asked"), run: (/** @type {string} */ reason) => command("POST", `${path}/pause`, {}, { reason }) };
      return h("tr", {}, h("th", { scope: "row" }, w.url), h("td", {}, [w.namespace, w.service, ...(w.types ?? [])].filter(Boolean).join(" ") || "everything"),
        h("td", {}, w.paused ? `paused${w.reason ? `: ${w.reason}` : ""}` : "delivers"),
        h("td", {}, last ? `${last.delivered ? "delivered" : "failed"} #${last.position}${last.status ? `, ${last.status}` : ""}${last.error ? `, ${last.error}` : ""}` : "nothing yet"),
        h("td", {}, button(toggle), " ", button({ name: "Delete", title: `Delete the webhook to ${w.url}?`, says: "Nothing more is delivered.", reason: "needed", danger: true, run: (reason) => command("DELETE", path, { reason }) })));
    }));
    return [table("webhooks", ["Target", "Events", "State", "Newest delivery", ""], rows)];
  }
}

/** @param {import("./rights.js").Grant} g */
const grant = (g) => `${g.verbs.join(", ")} in ${g.namespace || "*"}/${g.service || "*"}`;

/**
 * @param {string} labelledBy
 * @param {string[]} names
 * @param {Node[]} rows
 */
function table(labelledBy, names, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": labelledBy },
    h("table", {}, h("thead", {}, h("tr", {}, ...names.map((name) => (name ? h("th", { scope: "col" }, name) : h("td"))))), h("tbody", {}, ...rows)));
}

customElements.define("rc-operate", Operate);
