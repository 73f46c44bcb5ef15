// Elements. Text reaches the page through text nodes only, so that nothing a registry was told can become markup.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | undefined | ((e: any) => void)>} Attributes */

const svgNamespace = "http://www.w3.org/2000/svg";

/**
 * Sets attributes; a function is a listener of the event that the name tells (onclick).
 * @param {Element} el
 * @param {Attributes} attributes
 */
function attribute(el, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") el.addEventListener(name.slice(2), value);
    else if (value === true) el.setAttribute(name, "");
    else if (value !== false && value !== undefined) el.setAttribute(name, name === "title" || name === "aria-label" ? visible(/** @type {string} */ (value)) : String(value));
  }
}

// Characters that browsers show as nothing, or that show what follows in another order. Those that join emoji and letters stay.
const misleading = /[\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/**
 * A text with misleading characters written as <U+202E>: services choose their texts, and a line must not be read as another one.
 * @param {string | number} text
 */
export function visible(text) {
  return String(text).replace(misleading, (c) => `<U+${/** @type {number} */ (c.codePointAt(0)).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/**
 * @param {Element} el
 * @param {Child[]} children
 */
function fill(el, children) {
  for (const child of children) {
    if (child instanceof Node) el.append(child);
    else if (child !== null && child !== undefined && child !== false) el.append(visible(child));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  attribute(el, attributes);
  fill(el, children);
  return el;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, attributes = {}, ...children) {
  const el = /** @type {SVGElementTagNameMap[T]} */ (document.createElementNS(svgNamespace, tag));
  attribute(el, attributes);
  fill(el, children);
  return el;
}

/**
 * Sets the text of an element, if it is another one.
 * @param {Element} el
 * @param {string | number} text
 */
export function say(el, text) {
  const shown = visible(text);
  if (el.textContent !== shown) el.textContent = shown;
}

/**
 * Makes the children of an element those of a list. An item whose key stays keeps its element, and the others are moved around
 * the one that has the focus, since an element that is moved loses it.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} make
 * @param {(el: any, item: T) => void} [update]
 */
export function list(parent, items, keyOf, make, update) {
  /** @type {Map<string, HTMLElement>} */
  const had = new Map();
  for (const el of /** @type {HTMLCollectionOf<HTMLElement>} */ (parent.children)) had.set(el.dataset.key ?? "", el);
  const wanted = items.map((item) => {
    const key = keyOf(item);
    let el = had.get(key);
    if (el) had.delete(key);
    else {
      el = make(item);
      el.dataset.key = key;
    }
    update?.(el, item);
    return el;
  });
  for (const el of had.values()) el.remove();
  const focused = wanted.find((el) => el.contains(document.activeElement));
  let next = parent.firstElementChild;
  for (const el of wanted) {
    if (el === next || el === focused) next = el.nextElementSibling; // what is between is moved behind it
    else parent.insertBefore(el, next);
  }
}

/**
 * Makes an element's content that of another element, and leaves what is the same as it is: a reader's selection, focus and
 * place stay. The content has no listeners.
 * @param {Element} el
 * @param {Element} other
 */
export function renew(el, other) {
  if (el.isEqualNode(other)) return;
  for (const { name } of [...el.attributes]) if (!other.hasAttribute(name)) el.removeAttribute(name);
  for (const { name, value } of other.attributes) if (el.getAttribute(name) !== value) el.setAttribute(name, value);
  const had = [...el.childNodes], wanted = [...other.childNodes];
  wanted.forEach((child, n) => {
    const old = had[n];
    if (old instanceof Element && child instanceof Element && old.tagName === child.tagName) renew(old, child);
    else if (!old) el.append(child);
    else if (!old.isEqualNode(child)) old.replaceWith(child);
  });
  for (const old of had.slice(wanted.length)) old.remove();
}

/**
 * A function that runs another at most once in so many milliseconds, with the newest state.
 * @param {number} ms
 * @param {() => void} run
 */
export function paced(ms, run) {
  let waiting = false;
  let last = -Infinity;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => requestAnimationFrame(() => {
      waiting = false;
      last = performance.now();
      run();
    }), Math.max(0, last + ms - performance.now()));
  };
}

/**
 * A function that runs another when it was not called again for so many milliseconds.
 * @param {number} ms
 * @param {() => void} run
 */
export function rested(ms, run) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  };
}

/**
 * A function that runs another one at a time. Calls while it runs make it run once more, so that the newest is never missed.
 * @param {() => Promise<void>} run
 */
export function oneByOne(run) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await run();
      }
    } finally {
      running = false;
    }
  };
}
