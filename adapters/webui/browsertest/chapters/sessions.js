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
}
