// What operators do, and what others are not offered.
import { strict as assert } from "node:assert";
import { createServer } from "node:http";

/** Fills in the dialog, and confirms. */
async function confirm(page, button, fields = {}) {
  const dialog = page.locator("dialog.confirm");
  for (const [label, text] of Object.entries(fields)) await dialog.getByLabel(label).fill(text);
  await dialog.getByRole("button", { name: button, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

/** The page says that the act is done, and leads to its event. */
async function eventOf(page, act, type) {
  await page.getByText(`${act}: done.`).waitFor();
  await page.locator(".told a").click();
  await page.locator(`dialog.event .entry.${type}`).waitFor();
  await page.goBack();
  await page.locator("dialog.event").waitFor({ state: "detached" });
}

/** Opens a page as the bearer of a token. */
async function as(page, token, url) {
  await page.goto(url);
  const offered = page.getByRole("button", { name: /sign out/ });
  await page.locator("dialog.sign-in").or(offered).first().waitFor();
  if (await offered.isVisible()) {
    await offered.click();
    await page.locator("dialog.sign-in").waitFor();
  }
  await page.getByRole("textbox", { name: "Token" }).fill(token);
  await page.locator("dialog").getByRole("button", { name: "Sign in" }).click();
  await offered.waitFor();
}

export default async function (tell, { server, guarded }) {
  await tell("an operator acts with a reason, and sees the event", async (page) => {
    await page.goto(server.url + "/ui/instance/default/mail/mail-2");
    await page.getByRole("button", { name: "Maintenance" }).click();
    await page.locator("dialog").getByRole("button", { name: "Maintenance" }).click(); // without a reason it stays
    assert.equal(await page.locator("dialog.confirm").count(), 1);
    await page.getByLabel("Reason").fill("disk swap");
    await page.locator("dialog").getByRole("button", { name: "Maintenance" }).click();
    await page.getByText("Maintenance: done.").waitFor();
    await page.locator("main .chip.maintenance").waitFor();
    await page.getByRole("button", { name: "Deregister" }).click();
    await page.getByLabel("Reason").fill("no longer needed");
    await page.locator("dialog").getByRole("button", { name: "Deregister" }).click();
    await page.locator(".gone").getByText("deregistered: no longer needed").waitFor();
    await page.locator(".told a").click();
    await page.locator("dialog .proof.good").waitFor();
    await page.goto(server.url + "/ui/operate");
    await page.locator("tr", { hasText: "default" }).getByRole("button", { name: "Hold expiry" }).click();
    await page.getByLabel("Reason").fill("network works");
    await page.locator("dialog").getByRole("button", { name: "Hold expiry" }).click();
    await page.locator("tr", { hasText: "network works" }).getByRole("button", { name: "Let expiry go on" }).click();
    await page.getByLabel("Reason").fill("done");
    await page.locator("dialog").getByRole("button", { name: "Let expiry go on" }).click();
    await page.locator("tr", { hasText: "leases expire" }).first().waitFor();
  });

  await tell("a page without a token asks for one, and offers only what its bearer may do", async (page) => {
    const secret = (name, ...args) => JSON.parse(guarded.cli("token", "create", name, "-o", "json", ...args)).secret;
    const reader = secret("reading", "--role", "reader");
    const operator = secret("operating", "--role", "admin");
    await guarded.register("checkout", "a-1", {}, "default").then(() => assert.fail("it was registered without a token"), () => {});
    await guarded.send("PUT", "/v1/services/checkout/instances/a-1", { address: "10.0.0.1" }, operator);
    await page.goto(guarded.url + "/ui/instance/default/checkout/a-1");
    const sign = async (token) => {
      await page.getByRole("textbox", { name: "Token" }).fill(token);
      await page.locator("dialog").getByRole("button", { name: "Sign in" }).click();
    };
    await page.locator("dialog.sign-in").waitFor();
    await sign(reader);
    await page.locator("main .chip.passing").first().waitFor();
    assert.equal(await page.getByRole("button", { name: /Drain|Maintenance|Deregister/ }).count(), 0);
    await page.goto(guarded.url + "/ui/operate");
    await page.getByText("You have no right to manage webhooks.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Hold expiry" }).count(), 0);
    await page.getByRole("button", { name: /reading · sign out/ }).click();
    await page.locator("dialog.sign-in").waitFor();
    await sign(operator);
    await page.goto(guarded.url + "/ui/instance/default/checkout/a-1");
    await page.getByRole("button", { name: "Drain" }).click();
    await page.locator("dialog").getByRole("button", { name: "Drain" }).click();
    await page.locator("main .chip.draining").waitFor();
    await page.locator(".entries").getByText("by operating").first().waitFor();
    await page.goto(guarded.url + "/ui/operate");
    await page.locator("tr", { hasText: "reading" }).getByRole("button", { name: "Revoke" }).click();
    await page.getByLabel("Reason").fill("found in a log");
    await page.locator("dialog").getByRole("button", { name: "Revoke" }).click();
    await page.locator("tr", { hasText: "reading" }).waitFor({ state: "detached" });
    await assert.rejects(guarded.send("GET", "/v1/services", undefined, reader), /401/);
    assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((k) => k.includes("token")).length), 0);
  });

  await tell("somebody makes a webhook, sees what it delivers, and delivers it again", async (page) => {
    const got = [];
    const target = createServer((request, reply) => {
      got.push(request.headers["webhook-id"]);
      reply.writeHead(got.length === 1 ? 503 : 200).end();
    });
    await new Promise((listening) => target.listen(0, "127.0.0.1", listening));
    const url = `http://127.0.0.1:${target.address().port}/hook`;
    try {
      await page.goto(server.url + "/ui/operate");
      await page.getByRole("button", { name: "Create a webhook" }).click();
      const dialog = page.locator("dialog.confirm");
      await dialog.getByLabel("Target").fill("no address");
      await dialog.getByRole("button", { name: "Create a webhook" }).click();
      await dialog.getByText("url must be").waitFor();
      await dialog.getByLabel("TrafficChanged").check();
      await confirm(page, "Create a webhook", { Target: url, Service: "web", Namespace: "default" });
      assert.match(await page.locator("dialog.secret pre").textContent(), /^whsec_/);
      await page.getByRole("button", { name: "I have it" }).click();
      await eventOf(page, "Create a webhook", "WebhookCreated");
      await page.getByRole("link", { name: url }).click();
      await page.getByText("Nothing was delivered yet.").waitFor();
      await server.send("PUT", "/v1/services/web/instances/web-1/traffic", { traffic: "draining", reason: "to be told" });
      await page.locator("tr.failed", { hasText: "503" }).waitFor();
      await page.locator("tr", { hasText: "delivered, 200" }).waitFor();
      await page.getByRole("button", { name: "Replay" }).click();
      await confirm(page, "Replay", { From: "1" });
      await eventOf(page, "Replay", "WebhookReplayed");
      await page.locator("tr", { hasText: "delivered, 200" }).nth(2).waitFor(); // what the fleet changed before, too
      assert.ok(got.length > 2);
      await page.getByRole("button", { name: "Pause" }).click();
      await confirm(page, "Pause", { Reason: "the target is moved" });
      await page.getByText("paused: the target is moved").first().waitFor();
      await page.getByRole("button", { name: "Delete" }).click();
      await confirm(page, "Delete", { Reason: "not needed" });
      await page.locator(".entries").getByText("not needed").waitFor();
    } finally {
      target.close();
      target.closeAllConnections();
    }
  });

  await tell("who manages access makes roles and tokens, whose secrets are shown once", async (page) => {
    const admin = JSON.parse(guarded.cli("token", "create", "managing", "-o", "json", "--role", "admin")).secret;
    await as(page, admin, guarded.url + "/ui/operate");
    await page.getByRole("button", { name: "Create a role" }).click();
    const dialog = page.locator("dialog.confirm");
    await dialog.getByLabel("read-catalog").check();
    await dialog.getByLabel("in the namespaces").fill("shop");
    await confirm(page, "Create a role", { "Name (needed)": "shop-readers" });
    await eventOf(page, "Create a role", "RoleSet");
    await page.locator("tr", { hasText: "shop-readers" }).getByText("read-catalog in shop/*").waitFor();
    await page.getByRole("button", { name: "Create a token" }).click();
    await dialog.getByRole("button", { name: "Create a token" }).click(); // without a role it stays
    await dialog.getByLabel("shop-readers").check();
    await confirm(page, "Create a token", { "Name (needed)": "shopping", "Only from these networks": "127.0.0.0/8, ::1/128" });
    const secret = async () => {
      const text = await page.locator("dialog.secret pre").textContent();
      await page.getByRole("button", { name: "I have it" }).click();
      return text;
    };
    const first = await secret();
    assert.match(first, /^rollcall_/);
    await eventOf(page, "Create a token", "TokenCreated");
    assert.ok(!(await page.content()).includes(first));
    await guarded.send("GET", "/v1/services?ns=shop", undefined, first);
    const row = page.locator("tr", { hasText: "shopping" }).first();
    await row.getByRole("button", { name: "Rotate" }).click();
    await confirm(page, "Rotate");
    const second = await secret();
    await eventOf(page, "Rotate", "TokenRotated");
    await guarded.send("GET", "/v1/services?ns=shop", undefined, second);
    await assert.rejects(guarded.send("GET", "/v1/services?ns=shop", undefined, first), /401/);
  });

  await tell("a service is offered what it may do to its own instances", async (page) => {
    const secret = (name, role) => JSON.parse(guarded.cli("token", "create", name, "-o", "json", "--role", role)).secret;
    const [own, admin] = [secret("keeper", "service"), secret("other", "admin")];
    await guarded.send("PUT", "/v1/services/kept/instances/own", { address: "10.0.0.1", owner: "keeper:pod-7" }, own);
    await guarded.send("PUT", "/v1/services/kept/instances/foreign", { address: "10.0.0.1", owner: "keepers" }, admin);
    const buttons = () => page.locator("main .head button").allTextContents();
    await as(page, own, guarded.url + "/ui/instance/default/kept/foreign");
    await page.locator("main .chip.passing").waitFor();
    assert.deepEqual(await buttons(), []);
    await page.goto(guarded.url + "/ui/instance/default/kept/own");
    await page.getByRole("button", { name: "Deregister" }).waitFor();
    assert.deepEqual(await buttons(), ["Drain", "Deregister"]);
    await page.getByRole("button", { name: "Drain" }).click();
    await confirm(page, "Drain");
    await page.locator("main .chip.draining").waitFor();
    await guarded.send("PUT", "/v1/services/kept/instances/own/traffic", { traffic: "maintenance", reason: "an operator decided" }, admin);
    await page.locator("main .chip.maintenance").waitFor();
    assert.deepEqual(await buttons(), ["Deregister"]);
    await page.getByRole("button", { name: "Deregister" }).click();
    await confirm(page, "Deregister", { Reason: "it ends" });
    await page.locator(".gone").waitFor();
  });
}
