// What operators do, and what others are not offered.
import { strict as assert } from "node:assert";

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
}
