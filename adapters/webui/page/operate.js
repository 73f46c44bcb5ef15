// Operating the registry: where expiry is held, the webhooks, tokens and roles. Nothing is offered to whom it would be refused.
import { aborted, command, get, refused, words } from "./api.js";
import { button } from "./ask.js";
import { h } from "./dom.js";
import { readAccess } from "./keys.js";
import { failure, Page, presentOnly, table, timeOf } from "./page.js";
import { toWebhook } from "./route.js";
import { actsOf, create, outcome, selects } from "./webhook.js";
import { many } from "./words.js";

class Operate extends Page {
  preservation = h("div");
  webhooks = h("div");
  access = h("div");

  get heading() {
    return "Operate";
  }

  connectedCallback() {
    this.append(h("h1", {}, "Operate"), presentOnly(this.at),
      h("section", { "aria-labelledby": "preservation" }, h("h2", { id: "preservation" }, "Self-preservation"),
        h("p", { class: "quiet" }, "While expiry is held in a namespace, no lease lapses there: instances are kept that may be gone."), this.preservation),
      h("section", { "aria-labelledby": "webhooks" }, h("h2", { id: "webhooks" }, "Webhooks"), this.webhooks),
      h("section", { "aria-labelledby": "access" }, h("h2", { id: "access" }, "Tokens and roles"), this.access));
    this.routed();
    const timer = setInterval(() => this.contains(document.activeElement) || this.routed(), 10_000); // who is about to press a button keeps it
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  routed() {
    this.fill(this.preservation, () => this.readPreservation());
    this.fill(this.webhooks, () => this.readWebhooks());
    this.fill(this.access, () => readAccess(this.context.rights, this.at !== "", this.gone.signal));
  }

  /**
   * @param {HTMLElement} el
   * @param {() => Promise<(Node | string)[]>} read
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
      const change = (/** @type {boolean} */ held) => (/** @type {import("./ask.js").Values} */ { reason }) => command("PUT", "/v1/preservation", { ns: n.namespace }, { held, reason });
      /** @type {import("./ask.js").Act} */
      const act = n.held
        ? { name: "Let expiry go on", title: `Let leases expire in ${whose}?`, says: `${many(n.overdue, "lease")} past the deadline may expire at once.`, reason: "needed", danger: n.overdue > 0, run: change(false) }
        : { name: "Hold expiry", title: `Hold expiry in ${whose}?`, says: "No lease lapses there until somebody lets expiry go on.", reason: "needed", run: change(true) };
      return h("tr", {}, h("th", { scope: "row" }, whose), h("td", {}, n.held ? (n.forced ? "held by an operator" : "held: many leases lapsed at once") : "leases expire"),
        h("td", {}, n.since ? timeOf(n.since) : ""), h("td", {}, [n.actor, n.reason].filter(Boolean).join(": ")), h("td", { class: "number" }, `${n.overdue} / ${n.leases}`),
        h("td", { class: "acts" }, rights.may("operate", { namespace: n.namespace === "*" ? undefined : n.namespace }) && !this.at ? button(act) : null));
    });
    return [table("preservation", ["Namespace", "State", "Since", "By", "Overdue", ""], rows)];
  }

  async readWebhooks() {
    if (!this.context.rights.may("webhooks")) return [h("p", { class: "quiet" }, "You have no right to manage webhooks.")];
    const { signal } = this.gone;
    /** @type {{webhooks: import("./webhook.js").Webhook[], next?: string}} */
    const all = await get("/v1/webhooks", { limit: 100 }, signal);
    const head = this.at ? "" : h("div", { class: "head" }, button(create));
    if (all.webhooks.length === 0) return [head, h("p", { class: "quiet" }, "There is no webhook.")];
    const rows = await Promise.all(all.webhooks.map(async (w) => {
      const { attempts } = await get(`/v1/webhooks/${encodeURIComponent(w.id)}/deliveries`, { limit: 1 }, signal);
      return h("tr", {}, h("th", { scope: "row" }, h("a", { href: toWebhook(w.id) }, w.url)), h("td", {}, selects(w)), h("td", {}, w.paused ? `paused${w.reason ? `: ${w.reason}` : ""}` : "delivers"),
        h("td", {}, attempts[0] ? `#${attempts[0].position}: ${outcome(attempts[0])}` : "nothing yet"), h("td", { class: "acts" }, ...(this.at ? [] : actsOf(w))));
    }));
    return [head, table("webhooks", ["Target", "Events", "State", "Newest delivery", ""], rows), all.next ? h("p", { class: "quiet" }, "There are more than 100: the command line lists all of them (rollcall webhooks list).") : ""];
  }
}

customElements.define("rc-operate", Operate);
