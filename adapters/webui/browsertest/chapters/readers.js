// That everybody can read and reach everything.
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { follow, live, until } from "../browser.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const standard = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Nothing serious stands in the way of anybody who reads the page in another way. */
async function accessible(page, name, rules) {
  if (!(await page.evaluate(() => "axe" in window))) await page.context().newCDPSession(page).then((s) => s.send("Runtime.evaluate", { expression: axe })); // the policy allows no script of ours
  const found = await page.evaluate((runOnly) => axe.run({ resultTypes: ["violations"], runOnly, preload: false, iframes: false }), rules);
  const serious = found.violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(serious.map((v) => `${name}: ${v.id}: ${v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3).join(" | ")}`), []);
}

/** Nobody has to scroll to the side. */
async function fits(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name} is ${wide} px wider than the window`);
}

export default async function (tell, { server, middle }) {
  /** Each page, and what is there when it is loaded. */
  const pages = {
    overview: ["/ui/", ".services tbody tr >> nth=5"], service: ["/ui/service/default/checkout", ".instances tbody th a >> nth=5"],
    instance: ["/ui/instance/default/users/users-1", "td.output"], gone: ["/ui/instance/default/checkout/checkout-9", ".gone .entry"],
    audit: ["/ui/audit", ".entry >> nth=20"], event: [`/ui/audit?event=${middle}`, ".proof.good"], diff: [`/ui/diff?at=${middle}`, "section.removed li"],
    operate: ["/ui/operate", "section table"], past: [`/ui/?at=${middle}`, ".services tbody tr >> nth=5"], nothing: ["/ui/nothing", "h1"],
  };
  const open = async (page, name) => {
    if (page.url().startsWith(server.url)) await follow(page, pages[name][0]);
    else await page.goto(server.url + pages[name][0]);
    await page.locator(pages[name][1]).first().waitFor();
  };

  await tell("everybody can read every page", async (page) => {
    for (const name of Object.keys(pages).filter((n) => n !== "nothing" && n !== "gone")) {
      await open(page, name);
      await accessible(page, name, standard);
      await fits(page, name);
    }
  });

  await tell("everybody can read every page in the dark", async (page) => {
    for (const name of ["overview", "service", "event", "gone"]) {
      await open(page, name);
      await accessible(page, name, ["color-contrast"]);
    }
  }, { colorScheme: "dark" });

  await tell("every page fits a telephone of 360 px", async (page) => {
    for (const name of Object.keys(pages)) {
      await open(page, name);
      await fits(page, name);
    }
  }, { viewport: { width: 360, height: 740 } });

  await tell("every page fits a window of 1280 px at a zoom of 200 % and of 400 %, and what has the focus is not covered", async (page) => {
    for (const [width, height] of [[640, 430], [320, 215]]) {
      await page.setViewportSize({ width, height });
      for (const name of Object.keys(pages)) {
        await open(page, name);
        await fits(page, name);
      }
    }
    await open(page, "service");
    for (let n = 0; n < 40; n++) {
      await page.keyboard.press("Tab");
      const covered = await page.evaluate(() => {
        const el = document.activeElement, { left, top, width, height } = el.getBoundingClientRect();
        const over = document.elementFromPoint(Math.max(1, left + Math.min(width, innerWidth) / 2), Math.max(1, top + Math.min(height, innerHeight) / 2));
        return el.matches("rc-slider *, body, .skip") || !over || over.closest("rc-slider, header") === null || el.closest("header") ? "" : el.outerHTML;
      });
      assert.equal(covered, "");
    }
  }, {});

  await tell("states are told apart where colours are forced", async (page) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, forcedColors: "active" });
      await open(page, "service");
      await page.waitForFunction(() => document.querySelector("rc-lanes")?.lanes.length > 7);
      const colours = (parts) => page.locator(parts).evaluateAll((all) => all.map((el) => getComputedStyle(el).backgroundColor));
      await open(page, "overview");
      const parts = await colours(".services tr:has(a[href*='/checkout']) .bar span");
      assert.equal(new Set([...parts, ...(await colours("body"))]).size, 3, `${colorScheme}: ${parts}`);
      await open(page, "service");
      await until(async () => {
        const painted = await page.evaluate(() => { // names at the left, states at the right, and times below
          const canvas = document.querySelector("rc-lanes canvas"), g = canvas.getContext("2d");
          const of = (left, width) => {
            const { data } = g.getImageData(left, 0, width, canvas.height - 22), found = new Map();
            for (let n = 0; n < data.length; n += 4) if (data[n + 3] === 255) found.set(data.slice(n, n + 3).join(), (found.get(data.slice(n, n + 3).join()) ?? 0) + 1);
            return [...found].sort((a, b) => b[1] - a[1]).map(([colour]) => colour);
          };
          return { names: of(0, 150), states: of(canvas.width - 60, 60) };
        });
        assert.equal(painted.names[0], colorScheme === "light" ? "0,0,0" : "255,255,255");
        assert.ok(painted.states.length >= 2, String(painted.states));
      });
    }
  });

  await tell("the keyboard leads past a long table", async (page) => {
    for (const [path, link, past] of [["/ui/", "Skip the services", "changes"], ["/ui/service/default/checkout", "Skip the instances", "timeline"]]) {
      await page.goto(server.url + path);
      await live(page);
      const skip = page.getByRole("link", { name: link });
      for (let n = 0; n < 40 && !(await skip.evaluate((el) => el === document.activeElement)); n++) await page.keyboard.press("Tab");
      const { x, y } = await skip.boundingBox();
      assert.ok(x >= 0 && y >= 0, "it is seen when it has the focus");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement?.id), past);
      assert.equal(new URL(page.url()).hash, "");
    }
  });

  await tell("a screen reader is told how many rows a filter has left, when the filter rests", async (page) => {
    for (const [path, field, text, told] of [["/ui/", "Search", "cart", /^Shown: 1 of \d+ services, 5 instances$/], ["/ui/service/default/checkout", "Find in this service", "checkout-3", /^Shown: 1 of 8 instances$/]]) {
      await page.goto(server.url + path);
      await live(page);
      await page.locator("tbody th a").first().waitFor();
      const counted = page.locator("section .head [role=status]");
      await counted.evaluate((el) => {
        window.heard = [];
        new MutationObserver(() => window.heard.push(el.textContent)).observe(el, { childList: true, characterData: true, subtree: true });
      });
      await page.getByRole("searchbox", { name: field }).pressSequentially(text, { delay: 20 });
      await counted.filter({ hasText: told }).waitFor();
      const heard = await page.evaluate(() => window.heard.length);
      assert.ok(heard < text.length, `${heard} times for ${text.length} keystrokes`);
    }
  });

  await tell("the keyboard reaches everything", async (page) => {
    await page.goto(server.url + "/ui/");
    await live(page);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to the page");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
    const reached = new Set();
    for (let n = 0; n < 120; n++) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent));
    }
    for (const name of ["Search", "checkout", "Play the past", "Moment"]) assert.ok(reached.has(name), `${name} is not reached: ${[...reached].join(", ")}`);
  });
}
