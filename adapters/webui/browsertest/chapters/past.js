// The slider, the lanes and the comparison.
import { strict as assert } from "node:assert";
import { follow, live, until } from "../browser.js";

export default async function (tell, { server, middle }) {
  await tell("the slider shows what the command line shows", async (page) => {
    const told = server.ask("catalog", "--at", middle, "-o", "json");
    const want = JSON.parse(told).services.flatMap((s) => s.instances.map((i) => `${i.service}/${i.id}`));
    assert.equal(want.length, 36);
    await page.goto(server.url + `/ui/?at=${middle}`);
    await page.getByText("You are looking at the past").waitFor();
    await page.waitForFunction((n) => [...document.querySelectorAll(".tiles b")][1]?.textContent === String(n), want.length);
    await page.getByRole("link", { name: "checkout", exact: true }).click();
    await page.locator(".instances").getByText("checkout-9").waitFor();
    assert.match(page.url(), new RegExp(`at=${middle}`));
    const ids = (await page.locator(".instances tbody th").allTextContents()).filter(Boolean).map((id) => `checkout/${id}`);
    assert.deepEqual(ids, want.filter((key) => key.startsWith("checkout/")));
    await page.getByRole("button", { name: "back to now" }).click();
    await live(page);
    await page.locator(".instances").getByText("checkout-9").waitFor({ state: "detached" });
  });

  await tell("a moment that is told from now is a time in the address", async (page) => {
    await page.goto(server.url + "/ui/?at=1s%20ago");
    await page.getByText("You are looking at the past").waitFor();
    assert.match(decodeURIComponent(page.url()), /at=\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.match(await page.locator("div.past").textContent(), /past: \d{4}-\d\d-\d\d /);
    await page.goto(server.url + "/ui/?at=now");
    await live(page);
    assert.equal(new URL(page.url()).search, "");
    await page.goto(`${server.url}/ui/?at=${middle}`);
    await page.getByText(`position ${middle}`).waitFor();
  });

  await tell("a moment that the registry does not know is not called the past", async (page) => {
    const future = new Date(Date.now() + 86400000).toISOString();
    await page.goto(server.url + "/ui/");
    for (const [moment, why] of [[future, "must not be in the future"], ["garbage", "must be an RFC 3339 time"], ["2026-13-45T00:00:00Z", "must be an RFC 3339 time"], ["99999999", "must be a position that was assigned"]]) {
      for (const path of ["", "service/default/web", "instance/default/web/web-1", "audit", "operate", "diff"]) {
        await follow(page, `${server.url}/ui/${path}?at=${encodeURIComponent(moment)}`);
        await page.locator(".past", { hasText: `There is no such moment: at ${why}` }).waitFor();
        assert.equal(await page.getByText("You are looking at the past").count(), 0, `${path} at ${moment}`);
        assert.equal(await page.locator(".past a:visible").count(), 0);
        assert.equal(await page.locator(".state").first().textContent(), "no such moment");
      }
    }
    await page.getByRole("button", { name: "back to now" }).click();
    await live(page);
    await page.goto(`${server.url}/ui/?at=2001-01-01T00:00:00Z`);
    await page.locator(".past", { hasText: "before the first event: nothing had been registered yet" }).waitFor();
    await follow(page, `/ui/instance/default/web/web-1?at=${middle}`);
    await page.getByText("You are looking at the past").waitFor();
    await page.locator("dl.facts").first().waitFor();
  });

  await tell("dragging goes to a moment, and back to now", async (page) => {
    await page.goto(server.url + "/ui/");
    await live(page);
    const slider = page.getByRole("slider");
    await slider.focus();
    await page.keyboard.press("Home");
    await page.getByText("You are looking at the past").waitFor();
    await page.getByText("Nothing was registered then.").waitFor();
    await page.keyboard.press("End");
    await live(page);
    await page.locator(".services").getByText("checkout").waitFor();
    await page.locator(".histogram rect").first().waitFor({ state: "attached" });
  });

  await tell("the past plays until now", async (page) => {
    await page.goto(server.url + "/ui/?span=5");
    await live(page);
    await page.evaluate(() => { // the past may be shown for a moment only
      window.shown = [];
      new MutationObserver(() => window.shown.push(!document.querySelector(".past").hidden)).observe(document.querySelector(".past"), { attributes: true });
    });
    await page.getByLabel("Speed").selectOption("600");
    await page.getByRole("button", { name: "Play the past" }).click();
    await page.waitForFunction(() => window.shown.includes(true) && window.shown.at(-1) === false);
    await page.getByRole("button", { name: "Play the past" }).waitFor();
    await live(page);
  });

  await tell("the lanes show the states of the timeline, and who made them", async (page) => {
    await page.goto(server.url + "/ui/service/default/payments?span=15");
    await page.locator("rc-lanes canvas").scrollIntoViewIfNeeded();
    await page.waitForFunction(() => document.querySelector("rc-lanes")?.lanes.length === 4);
    const told = await server.send("GET", "/v1/timeline/services/payments?from=15m%20ago");
    const shown = await page.evaluate(() => document.querySelector("rc-lanes").lanes.map(([id, lane]) => [id, lane.map((i) => i.state)]));
    assert.deepEqual(shown, told.lanes.map((l) => [l.id, l.intervals.map((i) => (i.traffic === "serving" ? i.status : i.traffic))]));
    assert.deepEqual(shown[0], ["payments-1", ["passing", "maintenance"]]);
    const lane = page.locator("rc-lanes canvas");
    const at = async () => ({ x: (await lane.boundingBox()).width - 3, y: 10 });
    await until(async () => { // the page may move while it loads
      await lane.hover({ position: await at() });
      assert.match(await page.locator(".tip").textContent(), /replacing the disk \(by anonymous\)/);
    });
    await until(async () => {
      await lane.click({ position: await at() });
      assert.match(page.url(), /\/ui\/instance\/default\/payments\/payments-1/);
    });
  });

  await tell("lanes are dragged and zoomed, by the pointer and by keys", async (page) => {
    await page.goto(server.url + "/ui/service/default/payments?span=5");
    await page.waitForFunction(() => document.querySelector("rc-lanes")?.lanes.length === 4);
    const lanes = page.locator("rc-lanes canvas"), note = page.locator("rc-lanes .note");
    const span = () => page.evaluate(() => document.querySelector("rc-lanes").span);
    const length = (s) => Math.round((s.to - s.from) / 1000);
    assert.equal(length(await span()), 300);
    await note.getByText("to now").waitFor();
    await until(async () => { // the page may move while it loads
      await lanes.hover({ position: { x: 300, y: 30 } });
      const { x } = await lanes.boundingBox();
      await page.mouse.down();
      await page.mouse.move(x + 400, 0, { steps: 3 });
      await page.mouse.move(x + 500, 0, { steps: 3 });
      await page.mouse.up();
      assert.ok(Date.now() - (await span()).to > 30_000, "200 px of 300 s are more than 30 s");
    });
    await page.waitForFunction(() => !document.querySelector("rc-lanes .note").textContent.includes("to now"));
    const dragged = await span();
    assert.equal(length(dragged), 300);
    assert.match(page.url(), /service\/default\/payments/); // a drag is no click
    await lanes.hover({ position: { x: 700, y: 30 } });
    await page.keyboard.down("Control");
    await page.mouse.wheel(0, -200);
    await page.keyboard.up("Control");
    await page.waitForFunction((before) => document.querySelector("rc-lanes").span.from > before, dragged.from);
    const zoomed = await span();
    assert.ok(zoomed.to < dragged.to && length(zoomed) < 150, "the wheel zooms around the pointer");
    await page.locator("rc-lanes .lanes").focus();
    await page.keyboard.press("-");
    assert.ok(Math.abs(length(await span()) - 2 * length(zoomed)) <= 1);
    await page.keyboard.press("+");
    const before = await span();
    await page.keyboard.press("ArrowLeft");
    assert.ok((await span()).from < before.from);
    await page.keyboard.press("End");
    await note.getByText("to now").waitFor();
  });

  await tell("the comparison names the event of each difference", async (page) => {
    await server.send("PUT", "/v1/services/cart/instances/cart-1/health", { status: "warning", output: "slow" });
    await server.send("PUT", "/v1/services/cart/instances/cart-1/traffic", { traffic: "draining", reason: "it is slow" });
    await page.goto(server.url + `/ui/?at=${middle}`);
    await page.getByRole("link", { name: "compare with now" }).click();
    const gone = page.locator("section.removed li", { hasText: "checkout/checkout-9" });
    await gone.getByText("deregistered: scaled down").waitFor();
    await page.locator("section.changed").getByText("traffic went from serving to maintenance: replacing the disk").waitFor();
    const both = page.locator("section.changed .differences > li", { hasText: "cart/cart-1" }).locator(".fields");
    const positionOf = async (field) => (await both.locator("li", { hasText: field }).getByRole("link").textContent()).slice(1);
    for (const [field, type] of [["status", "HealthChanged"], ["traffic", "TrafficChanged"]]) {
      const { entries } = await server.send("GET", `/v1/services/cart/instances/cart-1/history?type=${type}`);
      assert.equal(await positionOf(field), entries[0].position, `the event that changed the ${field}`);
    }
    await gone.locator(".who a").click();
    await page.locator("dialog .proof.good").waitFor();
  });
}
