// What stays where it is while the fleet changes, and what a caller with few rights is shown.
import { strict as assert } from "node:assert";
import { live, until } from "../browser.js";

export default async function (tell, { server, guarded }) {
  await tell("a row keeps the focus while the rows around it come, go and change places", async (page) => {
    for (const id of ["a1", "b1", "c1", "d1"]) await server.register("steady", id);
    await page.goto(server.url + "/ui/service/default/steady?sort=-state");
    await live(page);
    const row = page.locator(".instances tbody").getByRole("link", { name: "c1", exact: true });
    await row.focus();
    const kept = () => row.evaluate((el) => el === document.activeElement);
    const ids = async () => (await page.locator(".instances tbody th").allTextContents()).join(" ");
    await server.send("DELETE", "/v1/services/steady/instances/a1?reason=a%20test");
    await until(async () => assert.equal(await ids(), "b1 c1 d1"));
    assert.ok(await kept(), "a row above went");
    await server.send("PUT", "/v1/services/steady/instances/d1/health", { status: "critical", output: "a test" });
    await until(async () => assert.equal(await ids(), "d1 b1 c1"));
    assert.ok(await kept(), "a row below went above");
  });

  await tell("a text that is selected on an instance's page stays selected", async (page) => {
    await page.goto(server.url + "/ui/instance/default/cart/cart-2");
    await page.locator("dl.facts dd").first().waitFor();
    const metadata = page.getByRole("region", { name: "Metadata" });
    assert.equal(await metadata.locator("dl").innerText(), "team\ncart");
    await page.evaluate(() => getSelection().selectAllChildren(document.querySelector("dl.facts dd")));
    const selected = await page.evaluate(() => String(getSelection()));
    await page.evaluate(() => document.querySelector("rc-instance").read());
    assert.equal(await page.evaluate(() => String(getSelection())), selected);
  });

  await tell("what is read aloud is not told again each second", async (page) => {
    await page.goto(server.url + "/ui/service/default/cart");
    await live(page);
    await page.locator("rc-lanes .note").getByText("to now").waitFor();
    for (const often of [page.locator("rc-slider .moment"), page.locator("rc-lanes .note")]) {
      assert.equal(await often.evaluate((el) => el.closest("output, [role=status], [role=alert], [aria-live]")), null);
    }
  });

  await tell("who does not want to sign in is not asked again and again", async (page) => {
    await page.goto(guarded.url + "/ui/");
    const dialog = page.locator("dialog.sign-in");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await page.evaluate(() => document.querySelector("rc-overview").poll());
    assert.equal(await dialog.count(), 0);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByLabel("Token").fill("rollcall_nonsense");
    await dialog.getByRole("button", { name: "Sign in", exact: true }).click();
    await dialog.getByText("The registry does not take this token.").waitFor();
  }, {});

  await tell("who may read a part is shown that part, with its links", async (page) => {
    const secret = (...more) => JSON.parse(guarded.cli("token", "create", ...more, "-o", "json", "--role", "reader")).secret;
    const [admin, one, service] = [JSON.parse(guarded.cli("token", "create", "all-of-it", "-o", "json", "--role", "admin")).secret, secret("one-namespace", "--namespace", "small"), secret("one-service", "--namespace", "small", "--service", "first")];
    for (const name of ["first", "second"]) for (const ns of ["small", "default"]) await guarded.send("PUT", `/v1/services/${name}/instances/a?ns=${ns}`, { address: "10.0.0.1", ttl: "10m" }, admin);
    await page.addInitScript((token) => sessionStorage.getItem("rollcall.token") ?? sessionStorage.setItem("rollcall.token", token), one);
    await page.goto(guarded.url + "/ui/");
    await live(page);
    await page.locator(".services tbody tr", { hasText: "second" }).waitFor();
    await until(async () => assert.deepEqual(await page.getByLabel("Namespace").locator("option").allTextContents(), ["all namespaces", "small"]));
    await page.getByText("You see the services that you may read.").waitFor();
    await page.goto(guarded.url + "/ui/service/small/first");
    await live(page);
    await page.getByText("1 instance", { exact: true }).waitFor();
    for (const token of [service, secret("any-namespace", "--namespace", "sm*", "--service", "fi*")]) {
      await page.evaluate((token) => sessionStorage.setItem("rollcall.token", token), token);
      await page.goto(guarded.url + "/ui/");
      await page.locator(".services").getByRole("link", { name: "first", exact: true }).click();
      await live(page);
      await page.getByText("1 instance", { exact: true }).waitFor();
      await page.locator(".instances").getByRole("link", { name: "a", exact: true }).click();
      await page.locator("dl.facts").first().waitFor();
    }
    await page.evaluate((token) => sessionStorage.setItem("rollcall.token", token), secret("nothing-yet", "--namespace", "nowhere"));
    await page.goto(guarded.url + "/ui/");
    await page.getByText("Nothing that you may read is registered.").waitFor();
  }, {});
}
