// A webhook: where it delivers, its newest deliveries, and its history; and what operators do to webhooks.
import { aborted, command, get, words } from "./api.js";
import { button } from "./ask.js";
import { h } from "./dom.js";
import { entry, failure, Page, presentOnly, table, timeOf } from "./page.js";
import { to } from "./route.js";

/**
 * @typedef {{id: string, url: string, namespace?: string, service?: string, types?: string[], paused: boolean, reason?: string, after: string}} Webhook
 * @typedef {{event: string, position: string, type: string, attempt: number, at: string, took: string, status?: number, error?: string, delivered: boolean}} Attempt
 * @typedef {import("./ask.js").Act} Act
 */

const types = ["InstanceRegistered", "InstanceUpdated", "HealthChanged", "TrafficChanged", "InstanceDeregistered", "LeaseExpired", "CheckAdded", "CheckRemoved", "CheckChanged", "HeartbeatReceived"];
const few = 100, most = 1000; // deliveries that are shown

/** @param {string} id */
const pathOf = (id) => `/v1/webhooks/${encodeURIComponent(id)}`;

/** @param {Webhook} w */
export const selects = (w) => [w.namespace && `namespace ${w.namespace}`, w.service && `service ${w.service}`, ...(w.types ?? [])].filter(Boolean).join(", ") || "everything but heartbeats";

/** @type {Act} */
export const create = {
  name: "Create a webhook", title: "Create a webhook", says: "Events are sent to the target from now on, or from an earlier moment.", secret: "The secret with which deliveries are signed",
  fields: [
    { name: "url", label: "Target (needed)", needed: true, hint: "an address with https" },
    { name: "namespace", label: "Namespace", hint: "every one where it is left out" },
    { name: "service", label: "Service", hint: "every one where it is left out" },
    { name: "types", label: "Events; all but heartbeats where none is chosen", kind: "many", options: types.map((t) => [t, t]) },
    { name: "from", label: "From", hint: 'now where it is left out; or a time, a position, "5m ago"' },
    { name: "secret", label: "Secret", hint: "whsec_… ; a new one is made where it is left out" },
  ],
  run: (values) => command("POST", "/v1/webhooks", {}, filled(values)),
};

/** The values that were given. @param {import("./ask.js").Values} values */
export const filled = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value.length > 0));

/** The buttons of a webhook. @param {Webhook} w */
export function actsOf(w) {
  const path = pathOf(w.id);
  return [
    button(w.paused
      ? { name: "Resume", title: `Resume the webhook to ${w.url}?`, says: "Events since the pause are delivered.", run: () => command("POST", `${path}/resume`, {}) }
      : { name: "Pause", title: `Pause the webhook to ${w.url}?`, says: "Nothing is delivered until it is resumed.", reason: "asked", run: ({ reason }) => command("POST", `${path}/pause`, {}, { reason }) }),
    button({
      name: "Replay", title: `Deliver to ${w.url} again?`, says: "Events since the moment are delivered again, those that were delivered too.",
      fields: [{ name: "from", label: "From (needed)", needed: true, hint: 'a time, a position, or "5m ago"' }], run: ({ from }) => command("POST", `${path}/replay`, {}, { from }),
    }),
    button({ name: "Delete", title: `Delete the webhook to ${w.url}?`, says: "Nothing more is delivered.", reason: "needed", danger: true, run: ({ reason }) => command("DELETE", path, { reason }) }),
  ];
}

/** @param {Attempt} a */
export const outcome = (a) => [a.delivered ? "delivered" : "failed", a.status, a.error].filter(Boolean).join(", ");

class WebhookPage extends Page {
  head = h("div");
  deliveries = h("div");
  history = h("ol", { class: "entries" });
  more = h("button", { hidden: true, onclick: () => {
    this.#limit = most;
    this.routed();
  } }, `Up to ${most}`);
  #limit = few;

  get heading() {
    return "Webhook";
  }

  connectedCallback() {
    this.append(h("h1", {}, h("a", { href: to("operate") }, "Operate"), h("span", { class: "quiet" }, " / webhook "), this.route.namespace), presentOnly(this.at), this.head,
      h("section", { "aria-labelledby": "deliveries" }, h("div", { class: "head" }, h("h2", { id: "deliveries" }, "Deliveries"), h("span", { class: "quiet" }, "newest first; each try is one")), this.deliveries, this.more),
      h("section", { "aria-labelledby": "history" }, h("h2", { id: "history" }, "History"), this.history));
    this.routed();
    const timer = setInterval(() => this.contains(document.activeElement) || this.routed(), 5000);
    this.gone.signal.addEventListener("abort", () => clearInterval(timer));
  }

  async routed() {
    const { signal } = this.gone, path = pathOf(this.route.namespace);
    const failed = (/** @type {Element} */ el) => (/** @type {unknown} */ err) => {
      if (!aborted(err)) el.replaceChildren(failure(words(err)));
    };
    await Promise.all([
      get(path, {}, signal).then((w) => this.show(w), failed(this.head)),
      get(`${path}/deliveries`, { limit: this.#limit }, signal).then(({ attempts }) => this.showDeliveries(attempts), failed(this.deliveries)),
      get(`${path}/history`, { limit: 50 }, signal).then(({ entries }) => this.history.replaceChildren(...entries.map((/** @type {any} */ e) => entry(e, { subject: false }))), failed(this.history)),
    ]);
  }

  /** @param {Webhook} w */
  show(w) {
    const facts = [["Target", w.url], ["Events", selects(w)], ["State", w.paused ? `paused${w.reason ? `: ${w.reason}` : ""}` : "delivers"], ["Begins after", `#${w.after}`]];
    this.head.replaceChildren(h("div", { class: "head" }, ...(this.context.rights.may("webhooks") && !this.at ? actsOf(w) : [])),
      h("dl", { class: "facts" }, ...facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))));
  }

  /** @param {Attempt[]} attempts */
  showDeliveries(attempts) {
    this.more.hidden = attempts.length < few || this.#limit === most;
    if (attempts.length === 0) {
      this.deliveries.replaceChildren(h("p", { class: "quiet" }, "Nothing was delivered yet."));
      return;
    }
    this.deliveries.replaceChildren(table("deliveries", ["Event", "Type", "Try", "At", "Took", "Outcome"], attempts.map((a) => h("tr", { class: a.delivered ? "" : "failed" },
      h("th", { scope: "row" }, h("a", { href: to("audit", [], { event: a.position }) }, `#${a.position}`)), h("td", {}, a.type), h("td", { class: "number" }, String(a.attempt)),
      h("td", {}, timeOf(a.at)), h("td", {}, a.took), h("td", { class: "output" }, outcome(a))))));
  }
}

customElements.define("rc-webhook", WebhookPage);
