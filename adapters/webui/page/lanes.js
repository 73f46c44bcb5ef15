// Swim lanes: one lane an instance, and in it the states that it went through. Dragging moves them, the wheel with Ctrl and the
// keys + and - zoom.
import { aborted, Problem, words } from "./api.js";
import { h, oneByOne, rested, say } from "./dom.js";
import { Timeline, usualSpan } from "./intervals.js";
import { axis, draw, laneHeight, namesOf } from "./painting.js";
import { go, toInstance } from "./route.js";
import { momentOf, time } from "./words.js";

/** @typedef {import("./intervals.js").Interval} Interval */

const mostHeight = 440; // of the part in sight
const shortest = 2000, longest = 400 * 86400000; // ms that the lanes show
const click = 4; // px that a pointer may move in a click
const collator = new Intl.Collator("en", { numeric: true });

export class Lanes extends HTMLElement {
  /** @type {import("./page.js").Page | undefined} */
  page = undefined;
  canvas = h("canvas", { role: "img", "aria-label": "No lanes yet" });
  box = h("div", { class: "lanes", tabindex: "0", role: "region", "aria-label": "Lanes, one for each instance. The arrow keys move in time, plus and minus zoom, End goes back to now." });
  room = h("div");
  tip = h("div", { class: "tip", hidden: true });
  note = h("span", { class: "quiet note" });
  /** @type {[string, Interval[]][]} */
  lanes = [];
  #timeline = new Timeline("", "");
  #from = 0;
  #to = 0;
  #at = ""; // the moment for which the time was chosen
  #shown = ""; // the time of which everything is there
  #readFrom = 0; // the time from which the timeline was read
  #live = true;
  #drawing = false;
  #reading = new AbortController();

  /** @param {import("./page.js").Page} page */
  begin(page) {
    this.page = page;
    const move = (/** @type {number} */ zoom, /** @type {number} */ pan) => () => this.move(zoom, pan);
    this.append(h("div", { class: "head" }, this.note, h("span", { class: "grow" }),
      h("button", { "aria-label": "Earlier", onclick: move(1, -0.5) }, "◀"), h("button", { "aria-label": "Zoom out", onclick: move(2, 0) }, "−"),
      h("button", { "aria-label": "Zoom in", onclick: move(0.5, 0) }, "+"), h("button", { "aria-label": "Later", onclick: move(1, 0.5) }, "▶")), this.box, this.tip,
      h("p", { class: "quiet" }, "Drag to move in time. Ctrl and the wheel, or + and −, zoom."));
    this.room.append(this.canvas);
    this.box.append(this.room);
    const signal = page.gone.signal;
    this.box.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    this.box.addEventListener("keydown", (e) => this.key(e));
    this.box.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    addEventListener("resize", () => this.drawSoon(), { signal });
    for (const colours of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(colours).addEventListener("change", () => this.drawSoon(), { signal });
    this.canvas.addEventListener("pointermove", (e) => this.hover(e));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("pointerdown", (e) => this.press(e));
    const timer = setInterval(() => {
      if (this.#live && this.isConnected && !document.hidden) this.load();
    }, 5000);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      this.#reading.abort();
    });
  }

  /** The times at the edges in ms. */
  get span() {
    return { from: this.#from, to: this.#to };
  }

  /** Loads the span of the slider, around the moment that is shown. */
  load = oneByOne(async () => {
    if (!this.page) return;
    const chosen = Number(this.page.route.query.get("span"));
    const span = Math.max(shortest, Math.min(longest, (chosen > 0 ? chosen : await usualSpan()) * 60000));
    const at = momentOf(this.page.at);
    const other = this.page.at !== this.#at || this.#to === 0;
    this.#at = this.page.at;
    if (other) this.#live = this.#at === "";
    if (this.#live || (other && Number.isNaN(at))) {
      const length = this.#to > this.#from ? this.#to - this.#from : span;
      this.#to = Date.now();
      this.#from = this.#to - length;
    } else if (other && (at < this.#from || at > this.#to)) {
      this.#from = at - span / 2;
      this.#to = Math.min(Date.now(), at + span / 2);
    }
    if (this.#live || this.#shown !== `${this.#from} ${this.#to}`) await this.read();
    else this.drawSoon();
  });

  loadSoon = rested(150, () => this.load());

  /**
   * Shows another time.
   * @param {number} zoom
   * @param {number} pan in parts of the width
   * @param {number} [centre] which part of the width stays where it is
   */
  move(zoom, pan, centre = this.#live && pan === 0 ? 1 : 0.5) {
    const length = this.#to - this.#from;
    const next = Math.max(shortest, Math.min(longest, zoom * length));
    this.#from += centre * (length - next) + pan * next;
    this.#to = this.#from + next;
    const now = Date.now();
    if (this.#to >= now) {
      this.#to = now;
      this.#from = now - next;
    }
    this.#live = this.#to > now - 1000 && this.page?.at === "";
    this.#reading.abort(); // it is of another time
    this.drawSoon();
    this.loadSoon();
  }

  /** @param {KeyboardEvent} e */
  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [1, -0.1], ArrowRight: [1, 0.1], "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], End: [1, Infinity] };
    const move = moves[e.key];
    if (!move) return;
    e.preventDefault();
    if (move[1] === Infinity) this.move(1, (Date.now() - this.#to) / (this.#to - this.#from));
    else this.move(...move);
  }

  /** @param {WheelEvent} e */
  wheel(e) {
    const { left, width } = this.canvas.getBoundingClientRect();
    const names = namesOf(width);
    if (e.ctrlKey || e.metaKey) {
      e.preventDefault();
      this.move(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 200))), 0, Math.max(0, Math.min(1, (e.clientX - left - names) / (width - names))));
    } else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      e.preventDefault();
      this.move(1, e.deltaX / (width - names));
    }
  }

  /** Begins a drag, or a click that opens an instance. @param {PointerEvent} e */
  press(e) {
    if (e.button !== 0) return;
    const width = this.box.clientWidth - namesOf(this.box.clientWidth);
    let last = e.clientX, dragged = false;
    this.canvas.setPointerCapture(e.pointerId);
    const moved = (/** @type {PointerEvent} */ now) => {
      if (!dragged && Math.abs(now.clientX - e.clientX) < click) return;
      dragged = true;
      this.canvas.classList.add("dragged");
      this.move(1, (last - now.clientX) / width);
      last = now.clientX;
    };
    const ended = (/** @type {PointerEvent} */ now) => {
      this.canvas.removeEventListener("pointermove", moved);
      this.canvas.removeEventListener("pointerup", ended);
      this.canvas.removeEventListener("pointercancel", ended);
      this.canvas.classList.remove("dragged");
      const at = dragged || now.type === "pointercancel" ? undefined : this.find(now);
      if (at && this.page) go(toInstance({ namespace: this.page.route.namespace, service: this.page.route.service, id: at.id }));
    };
    this.canvas.addEventListener("pointermove", moved);
    this.canvas.addEventListener("pointerup", ended);
    this.canvas.addEventListener("pointercancel", ended);
  }

  /** Reads what is missing for the time that is shown. */
  async read() {
    if (!this.page) return;
    const { namespace, service } = this.page.route;
    const from = this.#from, to = this.#to;
    this.#shown = "";
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const goesOn = this.#timeline.complete !== "" && this.#live && from >= this.#readFrom; // what is there is right: only the newest is missing
    const timeline = goesOn ? this.#timeline : new Timeline(namespace, service);
    try {
      const all = await timeline.read(from, to, signal, () => this.show(timeline));
      this.#timeline = timeline;
      if (!goesOn) this.#readFrom = from;
      timeline.forget(this.#readFrom);
      this.show(timeline);
      if (all) this.#shown = `${from} ${to}`;
      const end = all ? (this.#live ? "now" : time(to)) : `${time(timeline.complete)}; zoom in to see more`;
      say(this.note, this.lanes.length ? `${time(from)} to ${end}` : "No instance was live in this time.");
    } catch (err) {
      if (aborted(err) || signal.aborted) return;
      this.#timeline = new Timeline(namespace, service);
      if (err instanceof Problem && err.status === 404) this.show(this.#timeline); // there was no such service
      say(this.note, err instanceof Problem && err.status === 404 ? "No instance was live in this time." : words(err));
    }
  }

  /** @param {Timeline} timeline */
  show(timeline) {
    this.lanes = [...timeline.lanes].sort(([a], [b]) => collator.compare(a, b));
    this.drawSoon();
  }

  drawSoon() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.draw();
    });
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
    draw(g, { lanes: this.lanes, from: this.#from, to: this.#to, at: momentOf(this.page?.at ?? ""), width, height, scrolled: box.scrollTop, style: getComputedStyle(this) });
  }

  /** The interval under the pointer. @param {PointerEvent | MouseEvent} e */
  find(e) {
    const width = this.box.clientWidth, names = namesOf(width);
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
    this.tip.style.left = `${Math.max(0, Math.min(e.clientX + 12, innerWidth - 330))}px`;
    this.tip.style.top = `${e.clientY + 14}px`;
  }
}

customElements.define("rc-lanes", Lanes);
