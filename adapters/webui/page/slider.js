// The time slider: drag to any moment, or play the past. The bars say how much changed when.
import { get } from "./api.js";
import { h, paced, s, say } from "./dom.js";
import { histogram, spans, usualSpan } from "./intervals.js";
import { drag, set } from "./route.js";
import { many, momentOf, time } from "./words.js";

const speeds = [1, 10, 60, 600, 3600];
const buckets = 120;
const frame = 250; // ms between two steps of playing

export class Slider extends HTMLElement {
  /** @type {import("./fleet.js").Fleet | undefined} */
  fleet = undefined;
  #at = "";
  #atMs = 0;
  #ns = "*";
  #from = 0;
  #to = 0;
  #present = false; // the right end of the slider stands for now
  #span = 60 * 60000;
  #loaded = "";
  #playing = 0;
  range = h("input", { type: "range", class: "range", "aria-label": "Moment", step: 1000, oninput: () => this.drag(), onkeydown: (/** @type {KeyboardEvent} */ e) => this.key(e) });
  bars = s("svg", { class: "histogram", viewBox: `0 0 ${buckets} 24`, preserveAspectRatio: "none", "aria-hidden": "true" });
  label = h("span", { class: "moment" }); // no live region: it tells another second again and again
  note = h("span", { class: "quiet note" });
  play = h("button", { class: "play", "aria-label": "Play the past", onclick: () => this.toggle() }, "▶");
  speed = h("select", { "aria-label": "Speed" }, ...speeds.map((n) => h("option", { value: n }, `${n}×`)));
  spans = h("select", { "aria-label": "Span of the slider", onchange: () => set({ span: this.spans.value }) }, ...spans.map(([name, n]) => h("option", { value: n }, name)));
  now = h("button", { onclick: () => set({ at: "" }, { push: true }) }, "Now");
  redraw = paced(5000, () => this.draw());

  connectedCallback() {
    this.speed.value = "60";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Time");
    this.append(h("div", { class: "controls" }, this.play, this.speed, this.spans, h("span", { class: "grow" }, this.label, " ", this.note), this.now),
      h("div", { class: "track" }, this.bars, this.range));
  }

  /** @param {import("./route.js").Route} route */
  async routed(route) {
    this.#at = route.query.get("at") ?? "";
    const at = this.#at;
    this.#ns = route.query.get("ns") || "*";
    const chosen = Number(route.query.get("span"));
    this.spans.value = String(spans.some(([, n]) => n === chosen) ? chosen : await usualSpan());
    this.#span = Number(this.spans.value) * 60000;
    if (this.#at !== "" && Number.isNaN(momentOf(this.#at))) await this.resolve(this.#at);
    else this.#atMs = this.#at === "" ? Date.now() : Date.parse(this.#at);
    if (at !== this.#at) return; // another moment is shown by now
    this.place();
    if (this.#at === "") this.stop();
  }

  /** Finds the time of a moment that is given in another way. @param {string} at */
  async resolve(at) {
    try {
      const page = await get("/v1/history", { ns: "*", to: at, limit: 1 });
      this.#atMs = page.entries.length ? Date.parse(page.entries[0].recorded_at) : Date.now();
    } catch {
      this.#atMs = Date.now();
    }
  }

  place() {
    const inside = this.#atMs >= this.#from && this.#atMs <= this.#to && this.#to - this.#from === this.#span;
    if (this.#at === "" || (!inside && this.#atMs >= Date.now() - this.#span)) this.untilNow();
    else if (!inside) {
      this.#from = Math.floor((this.#atMs - this.#span / 2) / 1000) * 1000;
      this.#to = this.#from + this.#span;
      this.#present = false;
    }
    this.range.min = String(this.#from);
    this.range.max = String(this.#to);
    this.range.value = String(this.#at === "" ? this.#to : this.#atMs);
    this.tell();
    this.draw();
  }

  untilNow() {
    this.#to = Math.ceil(Date.now() / 1000) * 1000;
    this.#from = this.#to - this.#span;
    this.#present = true;
  }

  tell() {
    const text = this.#at === "" ? `now, ${time(Date.now())}` : time(this.#atMs);
    say(this.label, text);
    this.range.setAttribute("aria-valuetext", text);
    this.now.disabled = this.#at === "";
  }

  /** The fleet has changed. */
  changed() {
    if (this.#at === "") this.redraw();
  }

  drag() {
    this.stop();
    const ms = Number(this.range.value);
    this.move(this.#present && ms >= this.#to ? 0 : ms);
  }

  /** @param {KeyboardEvent} e */
  key(e) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10 }[e.key];
    if (!step) return;
    e.preventDefault();
    this.stop();
    const ms = Number(this.range.value) + (step * this.#span) / buckets;
    this.move(this.#present && ms >= this.#to ? 0 : ms);
  }

  /** @param {number} ms 0: now */
  move(ms) {
    const at = ms === 0 ? "" : new Date(Math.round(ms)).toISOString().replace(/\.000Z$/, "Z");
    if ((this.#at === "") === (at === "")) drag("at", at);
    else set({ at }, { push: true });
  }

  toggle() {
    if (this.#playing) {
      this.stop();
      return;
    }
    if (this.#at === "") this.move(this.#from);
    this.play.setAttribute("aria-label", "Stop");
    say(this.play, "■");
    this.#playing = setInterval(() => {
      const next = this.#atMs + frame * Number(this.speed.value);
      if (next >= Date.now()) {
        this.stop();
        this.move(0);
      } else this.move(next);
    }, frame);
  }

  stop() {
    if (!this.#playing) return;
    clearInterval(this.#playing);
    this.#playing = 0;
    this.play.setAttribute("aria-label", "Play the past");
    say(this.play, "▶");
  }

  async draw() {
    if (this.#at === "") {
      this.untilNow();
      this.range.min = String(this.#from);
      this.range.max = this.range.value = String(this.#to);
      this.tell();
    }
    const from = this.#from, to = this.#to;
    const wanted = `${this.#ns} ${this.#span} ${Math.floor(from / (this.#span / buckets))} ${this.#at === "" ? this.fleet?.position : ""}`;
    if (wanted === this.#loaded) return;
    this.#loaded = wanted;
    let counts;
    try {
      counts = await histogram(this.#ns, from, to, buckets);
    } catch {
      this.bars.replaceChildren();
      say(this.note, "");
      return;
    }
    if (wanted !== this.#loaded) return;
    const most = Math.max(1, ...counts);
    const sum = counts.reduce((a, b) => a + b, 0);
    say(this.note, many(sum, "change"));
    this.bars.replaceChildren(...counts.flatMap((n, i) => (n === 0 ? [] : [s("rect", { x: i + 0.1, width: 0.8, y: 24 - Math.max(2, (24 * n) / most), height: Math.max(2, (24 * n) / most) })])));
  }
}

customElements.define("rc-slider", Slider);
