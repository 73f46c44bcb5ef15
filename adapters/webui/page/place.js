// Where the reader was on a page, so that the browser's Back and Forward return there, and not to the page's top.

const settles = 1000; // ms for which the parts of a page may come above the place and move it
const tries = 3000; // ms for which a page may take to become as long as it was
/** @type {AbortController | undefined} */
let returning;

/** Keeps the place of the page that is shown in its entry of the browser's history. @param {string} [followed] the link that leaves it */
export function keep(followed) {
  if (!returning || followed) history.replaceState({ y: scrollY, followed }, ""); // one who is still on the way back keeps the old place
}

/** Keeps the place whenever the reader rests. */
export function keepAlways() {
  history.scrollRestoration = "manual"; // the browser restores before the page has its content
  let timer = 0;
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, 100);
  }, { passive: true });
  addEventListener("pagehide", () => keep());
  for (const own of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(own, () => stop(), { passive: true });
}

function stop() {
  returning?.abort();
  returning = undefined;
}

/**
 * Goes to where the reader was, as soon as the page is long enough, and gives the focus to the link that was followed there. A
 * reader who scrolls meanwhile is left in peace.
 * @param {HTMLElement} main
 */
export function restore(main) {
  stop();
  /** @type {{y?: number, followed?: string}} */
  const { y = 0, followed = "" } = history.state ?? {};
  scrollTo(0, y);
  if (!y && !followed) return;
  returning = new AbortController();
  const { signal } = returning;
  const begun = performance.now();
  const step = () => {
    if (signal.aborted) return;
    scrollTo(0, y);
    /** @type {HTMLElement | null} */
    const link = followed ? main.querySelector(`a[href="${CSS.escape(followed)}"]`) : null;
    link?.focus({ preventScroll: true });
    const there = Math.abs(scrollY - y) < 2 && (link || !followed);
    if (performance.now() > begun + (there ? settles : tries)) stop();
    else requestAnimationFrame(step);
  };
  step();
}
