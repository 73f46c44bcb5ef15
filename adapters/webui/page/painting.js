// Draws lanes on a canvas: only those in sight, and of states that are shorter than a pixel only the worst.
import { states } from "./fleet.js";

/** @typedef {import("./intervals.js").Interval} Interval */

export const laneHeight = 20; // px
export const axis = 22; // px at the foot, for the times

/** How wide the names of the lanes are. @param {number} width of all */
export const namesOf = (width) => Math.min(160, width / 3);

const order = ["passing", "starting", "maintenance", "draining", "warning", "critical"]; // the worst last

/**
 * @param {CanvasRenderingContext2D} g
 * @param {{lanes: [string, Interval[]][], from: number, to: number, at: number, width: number, height: number, scrolled: number, style: CSSStyleDeclaration}} view
 * from and to are the times at the edges in ms; at is the moment that is shown, NaN: now
 */
export function draw(g, { lanes, from, to, at, width, height, scrolled, style }) {
  /** @type {Record<string, string>} */
  const colours = {};
  for (const name of [...states, "text", "quiet", "panel"]) colours[name] = style.getPropertyValue(`--${name}`).trim(); // or a system colour, where colours are forced
  const names = namesOf(width);
  const x = (/** @type {number} */ t) => names + ((t - from) / (to - from)) * (width - names);
  g.font = "12px system-ui, sans-serif";
  g.textBaseline = "middle";
  const last = Math.min(lanes.length, Math.ceil((scrolled + height) / laneHeight));
  for (let n = Math.floor(scrolled / laneHeight); n < last; n++) {
    const [id, lane] = lanes[n];
    const y = n * laneHeight - scrolled;
    g.fillStyle = colours.text;
    g.fillText(shortened(g, id, names - 8), 2, y + laneHeight / 2);
    drawLane(g, lane, y, { x, names, width, to, colours });
  }
  if (at >= from && at <= to) {
    g.fillStyle = colours.text;
    g.fillRect(x(at), 0, 1, height);
  }
  drawAxis(g, { from, to, x, names, width, height, colours });
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {Interval[]} lane
 * @param {number} y
 * @param {{x: (t: number) => number, names: number, width: number, to: number, colours: Record<string, string>}} view
 */
function drawLane(g, lane, y, { x, names, width, to, colours }) {
  /** What is shorter than a pixel, by its pixel: a place in the order. @type {Map<number, number>} */
  const short = new Map();
  /** @type {Set<number>} */
  const breaks = new Set(); // another epoch, and so perhaps another owner
  let epoch = 0;
  for (const i of lane) {
    const left = Math.max(names, x(i.from)), right = Math.min(width, x(Math.min(i.to, to)));
    if (epoch && i.epoch !== epoch && left > names && left < width) breaks.add(Math.round(left));
    epoch = i.epoch;
    if (right <= names || left >= width) continue;
    if (right - left < 1) {
      const pixel = Math.floor(left);
      short.set(pixel, Math.max(short.get(pixel) ?? 0, order.indexOf(i.state)));
      continue;
    }
    g.fillStyle = colours[i.state] || colours.quiet;
    g.fillRect(left, y + 3, right - left, laneHeight - 6);
  }
  for (const [pixel, state] of short) {
    g.fillStyle = colours[order[state]] || colours.quiet;
    g.fillRect(pixel, y + 3, 1, laneHeight - 6);
  }
  g.fillStyle = colours.text;
  for (const pixel of breaks) g.fillRect(pixel - 1, y + 1, 2, laneHeight - 2);
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {{from: number, to: number, x: (t: number) => number, names: number, width: number, height: number, colours: Record<string, string>}} view
 */
function drawAxis(g, { from, to, x, names, width, height, colours }) {
  g.fillStyle = colours.panel;
  g.fillRect(0, height - axis, width, axis);
  g.fillStyle = colours.quiet;
  const length = to - from;
  const clock = new Intl.DateTimeFormat("sv-SE", length > 86400000 ? { month: "2-digit", day: "2-digit", hour: "2-digit" } : { timeStyle: length < 600000 ? "medium" : "short" });
  const ticks = Math.max(1, Math.floor((width - names) / 110));
  for (let n = 0; n < ticks; n++) {
    const t = from + (n / ticks) * length;
    g.fillRect(x(t), height - axis, 1, 5);
    g.fillText(clock.format(t), x(t) + 4, height - axis / 2);
  }
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {string} text
 * @param {number} width
 */
function shortened(g, text, width) {
  if (g.measureText(text).width <= width) return text;
  let from = Math.max(0, text.length - 60); // the end of an id tells more than its beginning
  while (from < text.length - 1 && g.measureText(`…${text.slice(from)}`).width > width) from++;
  return `…${text.slice(from)}`;
}
