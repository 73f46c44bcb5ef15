import { chromium } from "playwright-core";

/** A browser of the machine, whose pages fail the run with any error or breach of the policy. */
export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
}

/** A page that collects what must not happen. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.faults = [];
  page.on("pageerror", (err) => page.faults.push(String(err.stack)));
  page.on("console", (m) => {
    if (/Content Security Policy|TrustedHTML|Uncaught/.test(m.text())) page.faults.push(m.text());
  });
  return page;
}
