// A table of many rows, of which only those in sight are elements.
import { h, list } from "./dom.js";

const height = 38; // of a row, as app.css has it
const margin = 12; // rows that are kept above and below those in sight
export const whole = 150; // up to so many rows are all elements

/** @template T */
export class Rows {
  /** @type {T[]} */
  items = [];
  above = h("tbody", { "aria-hidden": "true" });
  body = h("tbody");
  below = h("tbody", { "aria-hidden": "true" });
  #before = h("td");
  #after = h("td");

  /**
   * @param {HTMLTableElement} table
   * @param {{key: (item: T) => string, make: (item: T) => HTMLElement, update: (el: any, item: T) => void}} how
   * @param {AbortSignal} gone
   */
  constructor(table, how, gone) {
    this.table = table;
    this.how = how;
    this.above.append(h("tr", {}, this.#before));
    this.below.append(h("tr", {}, this.#after));
    table.append(this.body);
    let drawing = false;
    const draw = () => {
      if (drawing) return;
      drawing = true;
      requestAnimationFrame(() => {
        drawing = false;
        this.draw();
      });
    };
    addEventListener("scroll", draw, { passive: true, signal: gone });
    addEventListener("resize", draw, { signal: gone });
  }

  /** @param {T[]} items */
  show(items) {
    this.items = items;
    this.table.setAttribute("aria-rowcount", String(items.length + 1));
    this.draw();
  }

  draw() {
    const { items } = this;
    let first = 0, last = items.length;
    if (items.length <= whole) {
      this.above.remove();
      this.below.remove();
    } else {
      if (this.above.parentNode !== this.table) this.body.before(this.above);
      if (this.below.parentNode !== this.table) this.body.after(this.below);
      const top = this.above.getBoundingClientRect().top;
      first = Math.max(0, Math.min(items.length, Math.floor(-top / height) - margin));
      last = Math.min(items.length, Math.ceil((innerHeight - top) / height) + margin);
    }
    last = Math.max(first, last);
    this.#before.style.height = `${first * height}px`;
    this.#after.style.height = `${(items.length - last) * height}px`;
    this.below.hidden = last === items.length;
    let n = first + 2;
    list(this.body, items.slice(first, last), this.how.key, this.how.make, (el, item) => {
      el.setAttribute("aria-rowindex", String(n++));
      this.how.update(el, item);
    });
  }
}
