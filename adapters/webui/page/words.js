// How times, amounts and states are told.

const clock = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** @param {string | number | Date} t */
export function time(t) {
  return clock.format(new Date(t));
}

/**
 * How long ago, or how far ahead, a time is.
 * @param {string | number} t
 * @param {number} [now]
 */
export function ago(t, now = Date.now()) {
  const ms = now - new Date(t).getTime();
  return ms >= 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

/**
 * The time of a moment in ms; NaN: the moment is not given by a time.
 * @param {string} at
 */
export function momentOf(at) {
  return /^\d{4}-\d\d-\d\dT/.test(at) ? Date.parse(at) : NaN; // Date.parse takes a position for a year
}

/**
 * A moment as the address keeps it. "5m ago" becomes the time that it means now, for it would mean another one at each look; "now" is
 * no moment, and a plus that was not escaped arrives as a space.
 * @param {string} at
 */
export function settled(at) {
  if (at === "now") return "";
  const ago = /^((?:[\d.]+(?:h|m|s|ms|µs|us|ns))+) ago$/.exec(at.replace(/ (?=\d)/g, ""));
  if (ago) return new Date(Date.now() - milliseconds(ago[1])).toISOString();
  return /^\d{4}-\d\d-\d\dT/.test(at) ? at.replace(" ", "+") : at;
}

/** @param {number} ms */
export function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 360000) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** @param {number} n */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${n < 10 && unit > 0 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

const grouped = new Intl.NumberFormat("en");

/** @param {number} n */
export function count(n) {
  return grouped.format(n);
}

/**
 * @param {number} n
 * @param {string} noun
 */
export function many(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** Milliseconds of a duration as the API writes it (1h2m3.5s). @param {string} text */
export function milliseconds(text) {
  /** @type {Record<string, number>} */
  const units = { h: 3600000, m: 60000, s: 1000, ms: 1, "µs": 0.001, us: 0.001, ns: 0.000001 };
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ms|µs|us|ns|h|m|s)/g)) sum += Number(number) * units[unit];
  return sum;
}

/**
 * The value of a field of a change, in one line.
 * @param {unknown} value
 */
export function value(value) {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
