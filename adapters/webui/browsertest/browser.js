import { chromium } from "playwright-core";

/** How long anything may take in ms: machines that run other tests, too, are slow. */
export const deadline = 90_000;

/** A browser of the machine. */
export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"], timeout: 3 * deadline });
}

const usual = { viewport: { width: 1280, height: 860 }, acceptDownloads: true, reducedMotion: "reduce" };

/** Browsers that keep the assets from page to page. @type {Map<any, Promise<any>>} */
const shared = new Map();

/** A page that collects what must not happen: errors, and breaches of the policy. With options it is in a context of its own. */
export async function open(browser, options) {
  if (!options && !shared.has(browser)) shared.set(browser, browser.newContext(usual));
  const context = options ? await browser.newContext({ ...usual, ...options }) : await shared.get(browser);
  const page = await context.newPage();
  page.setDefaultTimeout(deadline);
  page.faults = [];
  page.on("pageerror", (err) => page.faults.push(String(err.stack)));
  page.on("console", (m) => {
    if (/Content Security Policy|TrustedHTML|Uncaught/.test(m.text())) page.faults.push(m.text());
  });
  page.leave = () => (options ? context.close() : page.close());
  return page;
}

/** Goes to another page of the UI as a link does, without loading it anew. */
export async function follow(page, href) {
  await page.evaluate((to) => {
    history.pushState(null, "", to);
    dispatchEvent(new Event("rollcall-route"));
  }, href);
}

/** Tries again until something holds. The last failure is told. */
export async function until(holds) {
  for (const end = Date.now() + deadline; ;) {
    try {
      return await holds();
    } catch (err) {
      if (Date.now() > end) throw err;
    }
    await new Promise((again) => setTimeout(again, 50));
  }
}

/** Waits until the page follows the registry. */
export const live = (page) => page.locator(".state.live").waitFor();
