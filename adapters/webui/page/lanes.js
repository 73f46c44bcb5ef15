// Swim lanes: one lane an instance, and in it the states that it went through.
import { aborted, Problem, words } from "./api.js";
import { h, say } from "./dom.js";
import { timeline, usualSpan } from "./intervals.js";
import { go, toInstance } from "./route.js";
import { momentOf, time } from "./words.js";

/** @typedef {import("./intervals.js").Interval} Interval */

const laneHeight = 20;
const mostHeight = 440; // of the part in sight
const axis = 22;

export class Lanes extends HTMLElement {
  /** @type {import("./page.js").Page | undefined} */
  page = undefined;
  canvas = h("canvas", { role: "img" });
  box = h("div", { class: "lanes", tabindex: "0", role: "region", "aria-label": "Lanes, one for each instance" });
  room = h("div");
  tip = h("div", { class: "tip", hidden: true });
  note = h("span", { class: "quiet", role: "status" });
  /** @type {[string, Interval[]][]} */
  lanes = [];
  #from = 0;
  #to = 0;
  #live = true;
  #loading = false;

  /** @param {import("./page.js").Page} page */
  begin(page) {
    this.page = page;
    const move = (/** @type {number} */ zoom, /** @type {number} */ pan) => () => this.move(zoom, pan);
    this.append(h("div", { class: "head" }, this.note, h("span", { class: "grow" }),
      h("button", { "aria-label": "Earlier", onclick: move(1, -0.5) }, "◀"), h("button", { "aria-label": "Zoom out", onclick: move(2, 0) }, "−"),
      h("button", { "aria-label": "Zoom in", onclick: move(0.5, 0) }, "+"), h("button", { "aria-label": "Later", onclick: move(1, 0.5) }, "▶")), this.box, this.tip);
    this.room.append(this.canvas);
    this.box.append(this.room);
    const signal = page.gone.signal;
    this.box.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()), { passive: true });
    addEventListener("resize", () => this.draw(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
    this.canvas.addEventListener("pointermove", (e) => this.hover(e));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (e) => {
      const at = this.find(e);
      if (at && this.page) go(toInstance({ namespace: this.page.route.namespace, service: this.page.route.service, id: at.id }));
    });
    const timer = setInterval(() => {
      if (this.#live && this.isConnected) this.load();
    }, 5000);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Loads the span of the slider, around the moment that is shown. */
  async load() {
    if (!this.page || this.#loading) return;
    const span = (Number(this.page.route.query.get("span")) || (await usualSpan())) * 60000;
    const at = momentOf(this.page.at);
    this.#live = this.page.at === "";
    if (this.#live || Number.isNaN(at)) {
      const length = this.#to > this.#from ? this.#to - this.#from : span;
      this.#to = Date.now();
      this.#from = this.#to - length;
    } else if (at < this.#from || at > this.#to) {
      this.#from = at - span / 2;
      this.#to = Math.min(Date.now(), at + span / 2);
    }
    await this.read();
  }

  /**
   * @param {number} zoom
   * @param {number} pan in parts of the width
   */
  async move(zoom, pan) {
    const length = this.#to - this.#from;
    const middle = (this.#from + this.#to) / 2 + pan * length;
    this.#to = this.#live && pan === 0 ? this.#to : Math.min(Date.now(), middle + (zoom * length) / 2);
    this.#from = this.#to - zoom * length;
    this.#live = this.#to > Date.now() - 5000 && this.page?.at === "";
    await this.read();
  }

  async read() {
    if (!this.page) return;
    const { namespace, service } = this.page.route;
    const from = this.#from, to = this.#to;
    this.#loading = true;
    try {
      const lanes = await timeline(namespace, service, from, to, this.page.gone.signal).catch((err) => {
        if (err instanceof Problem && err.status === 404) return new Map(); // there was no such service
        throw err;
      });
      if (from !== this.#from || to !== this.#to) return;
      this.lanes = [...lanes].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
      say(this.note, this.lanes.length ? `${time(from)} to ${this.#live ? "now" : time(to)}` : "No instance was live in this time.");
      this.draw();
    } catch (err) {
      if (!aborted(err)) say(this.note, words(err));
    } finally {
      this.#loading = false;
    }
  }

  draw() {
    const { canvas, box } = this;
    const rows = this.lanes.length;
    const height = Math.min(mostHeight, rows * laneHeight + axis);
    box.style.height = `${height + 2}px`;
    box.hidden = rows === 0;
    this.room.style.height = `${rows * laneHeight + axis}px`;
    const width = box.clientWidth, ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.setAttribute("aria-label", `${rows} lanes; the table and the list of changes on this page tell the same in words`);
    const g = canvas.getContext("2d");
    if (!g || rows === 0) return;
    g.scale(ratio, ratio);
    const style = getComputedStyle(this);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    const names = Math.min(160, width / 3);
    const x = (/** @type {number} */ t) => names + ((t - this.#from) / (this.#to - this.#from)) * (width - names);
    g.font = "12px system-ui, sans-serif";
    g.textBaseline = "middle";
    const first = Math.floor(box.scrollTop / laneHeight);
    const last = Math.min(rows, Math.ceil((box.scrollTop + height) / laneHeight));
    for (let n = first; n < last; n++) {
      const [id, lane] = this.lanes[n];
      const y = n * laneHeight - box.scrollTop;
      g.fillStyle = colour("text");
      g.fillText(shortened(g, id, names - 8), 2, y + laneHeight / 2);
      let epoch = 0;
      for (const i of lane) {
        const left = Math.max(names, x(i.from)), right = Math.min(width, x(Math.min(i.to, this.#to)));
        if (right <= names || left >= width) continue;
        g.fillStyle = colour(i.state) || colour("quiet");
        g.fillRect(left, y + 3, Math.max(1, right - left), laneHeight - 6);
        if (epoch && i.epoch !== epoch) {
          g.fillStyle = colour("text");
          g.fillRect(left - 1, y + 1, 2, laneHeight - 2); // another epoch, and so perhaps another owner
        }
        epoch = i.epoch;
      }
    }
    g.fillStyle = colour("panel");
    g.fillRect(0, height - axis, width, axis);
    g.fillStyle = colour("quiet");
    const clock = new Intl.DateTimeFormat("sv-SE", this.#to - this.#from > 86400000 ? { month: "2-digit", day: "2-digit", hour: "2-digit" } : { timeStyle: this.#to - this.#from < 600000 ? "medium" : "short" });
    const ticks = Math.max(1, Math.floor((width - names) / 110));
    for (let n = 0; n < ticks; n++) {
      const t = this.#from + (n / ticks) * (this.#to - this.#from);
      g.fillRect(x(t), height - axis, 1, 5);
      g.fillText(clock.format(t), x(t) + 4, height - axis / 2);
    }
  }

  /** The interval under the pointer. @param {PointerEvent | MouseEvent} e */
  find(e) {
    const width = this.box.clientWidth, names = Math.min(160, width / 3);
    const lane = this.lanes[Math.floor((e.offsetY + this.box.scrollTop) / laneHeight)];
    if (!lane) return undefined;
    const t = this.#from + ((e.offsetX - names) / (width - names)) * (this.#to - this.#from);
    return { id: lane[0], interval: lane[1].find((i) => i.from <= t && t < i.to) };
  }

  /** @param {PointerEvent} e */
  hover(e) {
    const at = this.find(e);
    this.tip.hidden = !at?.interval;
    if (!at?.interval) return;
    const { state, from, to, epoch, owner, why, ended } = at.interval;
    say(this.tip, `${at.id}: ${state}, epoch ${epoch}${owner && ` of ${owner}`}, ${time(from)} to ${to === Infinity ? "now" : time(to)}${why && `. Began: ${why}`}${ended && `. Ended: ${ended}`}`);
    this.tip.style.left = `${Math.min(e.clientX + 12, innerWidth - 330)}px`;
    this.tip.style.top = `${e.clientY + 14}px`;
  }
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {string} text
 * @param {number} width
 */
function shortened(g, text, width) {
  if (g.measureText(text).width <= width) return text;
  while (text.length > 1 && g.measureText(`…${text}`).width > width) text = text.slice(1);
  return `…${text}`; // the end of an id tells more than its beginning
}

customElements.define("rc-lanes", Lanes);
