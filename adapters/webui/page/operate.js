// Operating the registry: where expiry is held, and the webhooks. Nothing is offered to whom it would be refused.
import { aborted, command, get, refused, words } from "./api.js";
import { button } from "./acts.js";
import { h } from "./dom.js";
import { failure, Page, timeOf } from "./page.js";
import { many } from "./words.js";

class Operate extends Page {
  preservation = h("div");
  webhooks = h("div");

  get heading() {
    return "Operate";
  }

  connectedCallback() {
    this.append(h("h1", {}, "Operate"),
      h("section", { "aria-labelledby": "preservation" }, h("h2", { id: "preservation" }, "Self-preservation"),
        h("p", { class: "quiet" }, "While expiry is held in a namespace, no lease lapses there: instances are kept that may be gone."), this.preservation),
      h("section", { "aria-labelledby": "webhooks" }, h("h2", { id: "webhooks" }, "Webhooks"), this.webhooks),
      h("section", { "aria-labelledby": "access" }, h("h2", { id: "access" }, "Tokens and roles"),
        h("p", {}, "They are changed on the machine of the registry only, with ", h("code", {}, "rollcall token"), " and ", h("code", {}, "rollcall role"), ".")));
    this.routed();
    const timer = setInterval(() => this.contains(document.activeElement) || this.routed(), 10_000); // who is about to press a button keeps it
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  routed() {
    this.fill(this.preservation, () => this.readPreservation());
    this.fill(this.webhooks, () => this.readWebhooks());
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
