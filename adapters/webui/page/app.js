// The frame of all pages: navigation, the state of the connection, sign-in, the time slider.
import { get, token } from "./api.js";
import { h, list, paced, say, visible } from "./dom.js";
import { Fleet } from "./fleet.js";
import { Page, skip } from "./page.js";
import { restore } from "./place.js";
import { Rights } from "./rights.js";
import { followLinks, go, route, set, to } from "./route.js";
import { begin, hindrance, issuers, returned, signedIn } from "./signin.js";
import { ago, momentOf, settled, time } from "./words.js";
import "./overview.js";
import "./service.js";
import "./instance.js";
import "./audit.js";
import "./diff.js";
import "./operate.js";
import "./webhook.js";
import "./slider.js";

/** @type {Record<string, string>} */
const pages = { overview: "rc-overview", service: "rc-service", instance: "rc-instance", audit: "rc-audit", diff: "rc-diff", operate: "rc-operate", webhook: "rc-webhook" };

class App extends HTMLElement {
  fleet = new Fleet();
  rights = new Rights();
  /** @type {Page | undefined} */
  page = undefined;
  #shown = "";
  main = h("main", { id: "main", tabindex: "-1" });
  nav = h("nav", { "aria-label": "Pages" });
  state = h("span", { class: "state loading", role: "status" }, "connecting");
  since = h("span", { class: "quiet", hidden: true }); // beside the live region: a reader is told once that the connection broke, and not each second
  past = h("div", { class: "past", hidden: true });
  tense = h("strong");
  moment = h("span");
  compare = h("a", { class: "compare" }, "compare with now");
  namespaces = h("select", { "aria-label": "Namespace", onchange: () => set({ ns: this.namespaces.value === "*" ? "" : this.namespaces.value }, { push: true }) });
  who = h("button", { class: "plain", onclick: () => this.signIn() });
  slider = /** @type {import("./slider.js").Slider} */ (document.createElement("rc-slider"));

  async connectedCallback() {
    if (returned()) {
      this.append(this.main);
      await signedIn(this.main);
      return;
    }
    this.past.append(this.tense, this.moment, " ", this.compare, " ",
      h("button", { onclick: () => set({ at: "" }, { push: true }) }, "back to now"));
    this.append(
      skip("Skip to the page", this.main),
      h("header", { class: "top" },
        h("a", { href: "/ui/", class: "brand" }, "Rollcall"), this.nav, this.namespaces, h("span", { class: "grow" }), this.state, this.since, this.who),
      this.past, this.main, this.slider);
    followLinks();
    addEventListener("rollcall-route", (e) => {
      this.show();
      if (e instanceof CustomEvent) restore(this.main); // by Back or Forward
    });
    addEventListener("rollcall-unauthorized", (e) => {
      this.fleet.recheck();
      if (/** @type {CustomEvent} */ (e).detail.acted) this.#declined = false; // the form of the act covers the button "Sign in"
      this.signIn(!token.get() ? "The registry asks who you are." : !this.rights.name ? "The registry does not take this token." :
        "You are not signed in any more: your sign-in has ended, or was taken back. Sign in again to go on with this page.");
    });
    addEventListener("rollcall-acted", () => this.page?.routed());
    const changed = paced(200, () => {
      this.page?.changed();
      this.slider.changed();
    });
    this.fleet.addEventListener("change", changed);
    this.fleet.addEventListener("state", () => this.showState());
    setInterval(() => this.showState(), 1000);
    setInterval(() => this.listNamespaces(), 30_000);
    this.slider.fleet = this.fleet;
    this.show();
    restore(this.main); // a page that is loaded anew
    await this.rights.load();
    this.showWho();
    this.show();
    this.page?.routed();
    this.listNamespaces();
  }

  /** @param {boolean} [anew] puts the page up again, with other rights */
  show(anew = false) {
    const r = route();
    const at = r.query.get("at") ?? "";
    if (at !== settled(at)) {
      set({ at: settled(at) }); // and comes back
      return;
    }
    const ns = r.query.get("ns") || "*";
    const of = `${r.namespace}/${r.service}`;
    const one = ["service", "instance"].includes(r.page);
    const other = one && ns !== "*" && ns !== r.namespace; // the page is of a namespace that is not the chosen one
    this.fleet.show(other ? r.namespace : ns, at, r.page === "overview" ? "*" : r.page === "service" ? of : "");
    const path = `${r.page}/${r.namespace}/${r.service}/${r.id}`;
    if (path !== this.#shown || !this.page || anew) {
      const page = /** @type {Page} */ (document.createElement(Object.hasOwn(pages, r.page) ? pages[r.page] : "rc-nothing"));
      page.context = { fleet: this.fleet, rights: this.rights };
      page.route = r;
      const first = this.#shown === "";
      const moved = path !== this.#shown;
      this.#shown = path;
      this.page = page;
      this.main.replaceChildren(page);
      if (moved && !first) {
        this.main.focus({ preventScroll: true });
        scrollTo(0, 0);
      }
    } else {
      this.page.route = r;
      this.page.routed();
    }
    document.title = visible([this.page.heading, "Rollcall"].filter(Boolean).join(" · "));
    this.slider.routed(r);
    const links = [["overview", "Overview"], ["audit", "Audit"], ["operate", "Operate"]];
    list(this.nav, links, ([name]) => name, ([, label]) => h("a", {}, label), (el, [name]) => {
      el.setAttribute("href", to(name));
      if (name === r.page) el.setAttribute("aria-current", "page");
      else el.removeAttribute("aria-current");
    });
    this.showState();
  }

  /** Says that the past is shown, or that there is no such moment. */
  showPast() {
    const at = route().query.get("at") ?? "";
    const { noMoment, problem, note } = this.fleet;
    this.past.hidden = at === "";
    if (!at) return;
    const told = Number.isNaN(momentOf(at)) ? `position ${at}` : `${time(at)} (${ago(at)})`;
    say(this.tense, noMoment ? "There is no such moment: " : "You are looking at the past: ");
    say(this.moment, noMoment ? `${problem}.` : told + (note && `, ${note}`));
    this.compare.hidden = noMoment;
    this.compare.setAttribute("href", to("diff"));
  }

  showState() {
    this.showPast();
    const { state, problem, heard, noMoment, signedOut } = this.fleet;
    /** @type {Record<string, string>} */
    const texts = { loading: "connecting", live: "live", past: "past", failed: noMoment ? "no such moment" : problem, cut: signedOut ? problem : `disconnected: ${problem}` };
    this.state.className = `state ${state}`;
    say(this.state, texts[state]);
    this.since.hidden = state !== "cut" || !heard;
    if (!this.since.hidden) say(this.since, `what is shown is from ${ago(heard)}`);
    document.documentElement.classList.toggle("stale", state === "cut");
  }

  showWho() {
    const { controlled, name } = this.rights;
    this.who.hidden = !controlled;
    say(this.who, token.get() ? `${name || "unknown token"} · sign out` : "Sign in");
  }

  async listNamespaces() {
    const names = ["*"];
    try {
      const all = await get("/v1/namespaces");
      names.push(...all.namespaces.map((/** @type {{namespace: string}} */ n) => n.namespace));
    } catch {
      // the list comes with the next look
    }
    const chosen = route().query.get("ns") || "*";
    if (!names.includes(chosen)) names.push(chosen);
    list(this.namespaces, names, (n) => n, (n) => h("option", { value: n }, n === "*" ? "all namespaces" : n));
    this.namespaces.value = chosen;
  }

  #declined = false; // nobody wants to sign in: the page asks again when somebody presses the button

  /** @param {string} [why] why the page asks by itself */
  signIn(why = "") {
    if (document.querySelector("dialog.sign-in") || (why && this.#declined)) return;
    if (token.get() && !why) {
      this.signed("");
      return;
    }
    const field = h("input", { type: "password", autocomplete: "off", required: true, id: "token" });
    const others = h("div", { class: "issuers" });
    const dialog = h("dialog", { class: "sign-in", "aria-labelledby": "sign-in-title" });
    dialog.append(h("form", { method: "dialog", onsubmit: () => this.signed(field.value.trim()) },
      h("h2", { id: "sign-in-title" }, "Sign in"),
      why && h("p", {}, why), others,
      h("label", { for: "token" }, "Token"), field,
      h("p", { class: "quiet" }, "The token is kept in this tab only, until you close it."),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { class: "primary", value: "in" }, "Sign in"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      this.#declined = dialog.returnValue !== "in";
    });
    document.body.append(dialog);
    dialog.showModal();
    this.offerIssuers(others);
  }

  /** @param {HTMLElement} el */
  async offerIssuers(el) {
    try {
      const all = await issuers();
      el.replaceChildren(...all.map((issuer) => {
        const why = hindrance(issuer);
        return h("p", {}, h("button", { type: "button", class: "primary", disabled: why !== "", onclick: () => begin(issuer) }, `Sign in with ${issuer.title}`), why && h("span", { class: "quiet" }, ` ${why}`));
      }), all.length && document.querySelector("dialog.confirm") ? h("p", {}, "This leaves the page: what you have typed in the form is lost. With a token it stays.") : "",
      all.length ? h("p", { class: "quiet" }, "or with a token:") : "");
    } catch {
      // the token is left
    }
  }

  /** @param {string} text */
  async signed(text) {
    token.set(text);
    this.#declined = false;
    this.rights.name = ""; // nobody knows yet whether the token is good
    await this.rights.load();
    this.showWho();
    this.fleet.again();
    this.show(true);
    restore(this.main);
    this.listNamespaces();
  }
}

class Nothing extends Page {
  connectedCallback() {
    this.append(h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: to("overview") }, "Go to the overview")));
  }
}

customElements.define("rc-nothing", Nothing);
customElements.define("rc-app", App);
if (location.pathname === "/ui/overview") go("/ui/");
