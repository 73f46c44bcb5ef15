// The browser's Back and Forward.
import { strict as assert } from "node:assert";
import { live, until } from "../browser.js";
import { Server } from "../fleet.js";

export default async function (tell, { server, middle }) {
  const place = (page) => page.evaluate(() => Math.round(scrollY));
  const at = (page, y) => until(async () => assert.ok(Math.abs((await place(page)) - y) < 3, `${await place(page)} px, not ${y}`));

  await tell("Back and Forward return to where the reader was", async (page) => {
    await page.setViewportSize({ width: 1280, height: 300 });
    await page.goto(server.url + "/ui/");
    await live(page);
    const link = page.locator(".services").getByRole("link", { name: "users", exact: true });
    await link.scrollIntoViewIfNeeded();
    const left = await place(page);
    assert.ok(left > 100, `the overview is not longer than the window: ${left}`);
    await link.click();
    await page.locator(".instances tbody th a").first().waitFor();
    await at(page, 0);
    assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
    await page.locator("rc-lanes .note").getByText("to now").waitFor();
    const event = page.locator("section[aria-labelledby=recent] .entry").last().getByRole("link").last();
    await page.evaluate(() => addEventListener("click", () => (window.left = scrollY), { capture: true })); // the click scrolls first
    await event.click();
    const below = await page.evaluate(() => Math.round(window.left));
    assert.ok(below > 300);
    await page.locator("dialog .proof.good").waitFor();
    await page.goBack();
    await at(page, below);
    await page.goBack();
    await at(page, left);
    assert.ok(await link.evaluate((el) => el === document.activeElement), "the link that was followed has the focus");
    await page.goForward();
    await page.locator(".instances tbody th a").first().waitFor();
    await at(page, below);
    await page.reload();
    await at(page, below);
  });

  await tell("Back returns to a place in a list that is read page by page", async (page) => {
    const own = await new Server(server.binary).start();
    try {
      await own.register("long", "one");
      for (let n = 0; n < 120; n++) await own.send("PUT", "/v1/services/long/instances/one/traffic", { traffic: n % 2 ? "serving" : "draining", reason: "a test" });
      await page.goto(`${own.url}/ui/audit`);
      await page.locator(".entry").nth(99).scrollIntoViewIfNeeded();
      const link = page.locator(".entry").nth(99).getByRole("link").first();
      await link.scrollIntoViewIfNeeded();
      await page.waitForTimeout(200); // the page above the entry rests
      const left = await place(page);
      assert.ok(left > 1000);
      await link.click();
      await page.locator("main h1 a").waitFor();
      await page.goBack();
      await at(page, left);
    } finally {
      await own.end();
    }
  });

  await tell("a reader who scrolls while a page comes back is left in peace", async (page) => {
    await page.setViewportSize({ width: 1280, height: 300 });
    await page.goto(`${server.url}/ui/?at=${middle}`);
    const link = page.locator(".services").getByRole("link", { name: "users", exact: true });
    await link.click();
    await page.locator(".instances tbody th a").first().waitFor();
    await page.route("**/v1/services?*", async (route) => {
      await new Promise((later) => setTimeout(later, 700));
      await route.continue();
    });
    await page.goBack();
    await page.locator("rc-overview").waitFor();
    await page.keyboard.press("Home");
    await link.waitFor();
    await page.waitForTimeout(300);
    assert.equal(await place(page), 0);
  });

  await tell("Back and Forward go through all pages, and each is what its address says", async (page) => {
    const steps = ["/ui/", "/ui/service/default/checkout", "/ui/instance/default/checkout/checkout-2", "/ui/audit", `/ui/audit?event=${middle}`, `/ui/diff?at=${middle}`, "/ui/operate", "/ui/nothing"];
    const shown = () => page.evaluate(() => [document.querySelector("main")?.firstElementChild?.localName, document.title, document.querySelectorAll("dialog").length].join(" "));
    await page.goto(server.url + steps[0]);
    const told = [await shown()];
    for (const step of steps.slice(1)) {
      await page.evaluate((href) => {
        const link = Object.assign(document.createElement("a"), { href });
        document.querySelector("main").append(link);
        link.click();
        link.remove();
      }, step);
      told.push(await shown());
    }
    assert.equal(new Set(told).size, steps.length);
    for (let n = steps.length - 2; n >= 0; n--) {
      await page.goBack();
      await until(async () => assert.equal(await shown(), told[n], steps[n]));
      assert.equal(page.url(), server.url + steps[n]);
    }
    for (let n = 1; n < steps.length; n++) {
      await page.goForward();
      await until(async () => assert.equal(await shown(), told[n], steps[n]));
      assert.equal(page.url(), server.url + steps[n]);
    }
  });
}
