// The overview, a service and an instance, live.
import { strict as assert } from "node:assert";
import { live } from "../browser.js";
import { Server } from "../fleet.js";

export default async function (tell, { server }) {
  await tell("the overview shows every service by state, and finds instances as one types", async (page) => {
    await page.goto(server.url + "/ui/");
    await live(page);
    const row = page.locator(".services tbody tr", { hasText: "checkout" });
    await row.getByRole("img", { name: "7 passing, 1 critical" }).waitFor();
    assert.equal(await row.locator("td.number").textContent(), "7 / 8");
    await page.getByRole("searchbox").fill("10.0.1.14");
    await page.locator(".found a").first().waitFor();
    await page.getByRole("searchbox").fill("mail");
    await page.waitForFunction(() => document.querySelectorAll(".services tbody tr").length === 1);
    await page.waitForURL(/q=mail/); // when it rests
    await page.getByLabel("Namespace").selectOption("shop");
    await page.getByRole("searchbox").fill("");
    await page.locator(".services tbody tr", { hasText: "billing" }).waitFor();
    assert.equal(await page.locator(".services tbody tr").count(), 1);
  });

  await tell("an overview of 1,500 services has them all, and elements only for those in sight", async (page) => {
    const many = await new Server(server.binary).start();
    try {
      for (let n = 0; n < 1500; n += 500) {
        const body = Array.from({ length: 500 }, (_, i) => JSON.stringify({ type: "RegisterInstance", service: `service-${n + i}`, id: "one", address: "10.0.0.1", ttl: "10m" })).join("\n");
        const reply = await fetch(`${many.url}/v1/commands`, { method: "POST", headers: { "Content-Type": "application/x-ndjson" }, body });
        assert.equal(reply.status, 200);
      }
      await page.goto(many.url + "/ui/");
      await page.locator("table.services[aria-rowcount='1501']").waitFor();
      const link = (/** @type {number} */ n) => page.getByRole("link", { name: `service-${n}`, exact: true });
      await link(0).waitFor();
      await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
      await link(1499).waitFor();
      assert.ok(await page.locator(".services tbody tr").count() < 200, "rows out of sight are elements");
      await page.evaluate(() => scrollTo(0, 0));
      await link(0).waitFor();
      await page.getByRole("searchbox").fill("service-149");
      await page.locator("table.services[aria-rowcount='12']").waitFor();
      assert.deepEqual(await page.locator(".services tbody th a").allTextContents(), ["149", "1490", "1491", "1492", "1493", "1494", "1495", "1496", "1497", "1498", "1499"].map((n) => `service-${n}`));
    } finally {
      await many.end();
    }
  });

  await tell("a change is seen at once", async (page) => {
    await page.goto(server.url + "/ui/service/default/cart");
    await live(page);
    await page.getByText("5 instances").waitFor();
    await server.register("cart", "cart-new");
    await page.getByRole("link", { name: "cart-new" }).first().waitFor();
    await server.send("DELETE", "/v1/services/cart/instances/cart-new?reason=a%20test");
    await page.locator(".instances tbody").getByText("cart-new").waitFor({ state: "detached" });
    await page.locator("section[aria-labelledby=recent]").getByText("deregistered: a test").waitFor();
  });

  await tell("a service is shown also where another namespace is chosen", async (page) => {
    await page.goto(server.url + "/ui/service/default/mail?ns=shop");
    await live(page);
    await page.getByText("2 instances", { exact: true }).waitFor();
  });

  await tell("the history of an instance goes back page by page, each once", async (page) => {
    const own = await new Server(server.binary).start();
    try {
      await own.register("mail", "mail-long");
      for (let n = 0; n < 60; n++) await own.send("PUT", "/v1/services/mail/instances/mail-long/traffic", { traffic: n % 2 ? "serving" : "draining" });
      await page.goto(own.url + "/ui/instance/default/mail/mail-long");
      const drain = page.getByRole("button", { name: "Drain" });
      await drain.focus();
      const head = await page.locator("rc-instance .head").elementHandle();
      await page.getByRole("button", { name: "Earlier" }).dblclick();
      await page.waitForFunction(() => document.querySelectorAll("section[aria-labelledby=history] .entry").length >= 61);
      await page.waitForTimeout(300); // a second reply would have come
      assert.equal(await page.locator("section[aria-labelledby=history] .entry").count(), 61);
      await drain.focus();
      await page.evaluate(() => document.querySelector("rc-instance").read());
      assert.ok(await drain.evaluate((el) => el === document.activeElement), "the button keeps the focus while the page is read anew");
      assert.ok(await head.isVisible());
    } finally {
      await own.end();
    }
  });

  await tell("a service is sorted and filtered, and a colleague with the address sees the same", async (page) => {
    await page.goto(server.url + "/ui/service/default/checkout");
    await live(page);
    await page.getByLabel("zone").selectOption("eu-1a");
    await page.getByText("2 of 8 instances").waitFor();
    await page.getByLabel("zone").selectOption("");
    await page.getByRole("button", { name: "Version" }).click();
    await page.getByRole("button", { name: "Version" }).click();
    const ids = () => page.locator(".instances tbody tr th").allTextContents();
    await page.waitForFunction(() => document.querySelector(".instances tbody tr th")?.textContent === "checkout-4");
    assert.deepEqual((await ids()).filter(Boolean).slice(0, 2), ["checkout-4", "checkout-8"]);
    const there = await page.context().newPage();
    await there.goto(page.url());
    await there.getByText("8 instances").waitFor();
    assert.equal(await there.locator(".instances tbody tr th").nth(0).textContent(), "checkout-4");
  });

  await tell("an instance says what it is, what its checks say and what happened to it", async (page) => {
    await page.goto(server.url + "/ui/instance/default/users/users-1");
    await page.locator("td.output", { hasText: "no route to host" }).waitFor();
    await page.locator(".entries", { hasText: "registered at" }).first().waitFor();
    await page.goto(server.url + "/ui/instance/default/checkout/checkout-9");
    const why = page.locator(".gone");
    await why.getByText("deregistered: scaled down").waitFor();
  });

  await tell("the filters of the API are filters of the page", async (page) => {
    for (const filter of ["ready=true", "status=passing,warning", "status=critical&status=starting", "tag=primary", "meta.team=users", "check=db:critical", "check=*:passing", "zone=eu-1a&version=1.4.2"]) {
      const told = await server.send("GET", `/v1/services/users/instances?${filter}`);
      await page.goto(`${server.url}/ui/service/default/users?${filter}`);
      await live(page);
      await page.getByText(told.instances.length === 4 ? "4 instances" : `${told.instances.length} of 4 instances`, { exact: true }).waitFor();
      assert.deepEqual((await page.locator(".instances tbody th").allTextContents()).filter(Boolean), told.instances.map((i) => i.id), filter);
    }
    await page.goto(`${server.url}/ui/service/default/users?meta.team=nobody`);
    await page.getByText("No instance fits the filters.").waitFor();
    await page.getByRole("button", { name: "meta.team=nobody ✕" }).click();
    await page.getByText("4 instances", { exact: true }).waitFor();
  });
}
