// What a person sees whose sign-in ends while a page is open.
import { strict as assert } from "node:assert";
import { live, until } from "../browser.js";

export default async function (tell, { guarded }) {
  const create = (name, ...more) => JSON.parse(guarded.cli("token", "create", name, "-o", "json", ...more)).secret;

  await tell("a sign-in that ends leaves the page, and the next one goes on with it", async (page) => {
    const admin = create("sessions-admin", "--role", "admin");
    for (let n = 0; n < 40; n++) await guarded.send("PUT", `/v1/services/ending/instances/i-${n}`, { address: "10.0.0.1", ttl: "10m" }, admin);
    const sign = async (secret) => {
      await page.getByRole("textbox", { name: "Token" }).fill(secret);
      await page.locator("dialog").getByRole("button", { name: "Sign in" }).click();
    };
    await page.setViewportSize({ width: 1280, height: 300 });
    for (const path of ["/ui/service/default/ending?sort=-id", "/ui/instance/default/ending/i-7"]) {
      const name = `ending-${path.length}`, address = guarded.url + path;
      await page.goto(address);
      if (await page.getByRole("button", { name: /sign out/ }).isVisible()) await page.getByRole("button", { name: /sign out/ }).click();
      await sign(create(name, "--role", "operator"));
      await live(page);
      await page.getByText("10.0.0.1").first().waitFor();
      await page.evaluate(() => scrollTo(0, 400));
      guarded.cli("token", "revoke", name, "--reason", "a test");
      const dialog = page.locator("dialog.sign-in");
      await dialog.getByText("your sign-in has ended, or was taken back. Sign in again to go on with this page").waitFor();
      await page.locator(".state.cut", { hasText: "You are not signed in any more." }).waitFor();
      const place = await page.evaluate(() => scrollY);
      assert.ok(place > 100);
      assert.ok(await page.evaluate(() => document.documentElement.classList.contains("stale")), "what is shown is marked as old");
      await page.evaluate(() => document.querySelector("rc-instance")?.read());
      assert.ok(await page.getByText("10.0.0.1").count() > 0, "what was shown stays");
      assert.doesNotMatch(await page.locator("body").innerText(), /Authorization|Bearer|401/);
      await dialog.getByRole("button", { name: "Cancel" }).click();
      await page.getByRole("button", { name: /sign out/ }).click();
      await sign(admin);
      await live(page);
      await page.getByText("10.0.0.1").first().waitFor();
      assert.equal(page.url(), address);
      await until(async () => assert.equal(await page.evaluate(() => scrollY), place));
    }
  }, {});

  await tell("a sign-in that ends while a form is filled in loses nothing of it", async (page) => {
    const sign = async (secret) => {
      await page.getByRole("textbox", { name: "Token" }).fill(secret);
      await page.locator("dialog.sign-in").getByRole("button", { name: "Sign in", exact: true }).click();
    };
    const admin = create("forms-admin", "--role", "admin");
    await guarded.send("PUT", "/v1/services/forms/instances/a", { address: "10.0.0.1", ttl: "10m" }, admin);
    await page.route("**/ui/sign-in.json", (route) => route.fulfill({ json: { issuers: [{ title: "a directory", issuer: "https://id.example", client_id: "ui", authorization_endpoint: "https://id.example/a", token_endpoint: "https://id.example/t" }] } }));
    await page.goto(`${guarded.url}/ui/instance/default/forms/a`);
    await page.getByText("or with a token:").waitFor();
    assert.equal(await page.getByText("is lost").count(), 0, "there is no form yet");
    await sign(create("forms-operator", "--role", "operator", "--expires-in", "8s"));
    await page.getByRole("button", { name: "Drain" }).click();
    await page.getByLabel("Reason").fill("half a sentence");
    const form = page.locator("dialog.confirm"), again = page.locator("dialog.sign-in");
    await again.getByText("your sign-in has ended").waitFor(); // by the stream, which ends with the token
    await again.getByText("what you have typed in the form is lost").waitFor();
    await again.getByRole("button", { name: "Cancel" }).click();
    await form.getByRole("button", { name: "Drain" }).click();
    await again.getByText("your sign-in has ended").waitFor();
    await sign(admin);
    await again.waitFor({ state: "detached" });
    assert.equal(await page.getByLabel("Reason").inputValue(), "half a sentence");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Drain", "the focus is where it was");
    await form.getByRole("button", { name: "Drain" }).click();
    await page.locator(".entries").getByText("half a sentence").first().waitFor();
  }, {});
}
