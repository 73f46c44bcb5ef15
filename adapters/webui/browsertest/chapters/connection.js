// What a page says when the registry is gone. It ends the server, so it is told last.
import { strict as assert } from "node:assert";
import { live } from "../browser.js";

export default async function (tell, { server }) {
  await tell("a page that lost the registry says so, and comes back by itself", async (page) => {
    await page.goto(server.url + "/ui/service/default/web");
    await live(page);
    await page.getByRole("link", { name: "web-3" }).first().waitFor();
    const instance = await page.context().newPage();
    await instance.goto(server.url + "/ui/instance/default/web/web-3");
    await instance.locator("dl.facts").first().waitFor();
    await live(instance);
    await server.kill("SIGKILL");
    await instance.locator(".state.cut").waitFor();
    await instance.evaluate(() => document.querySelector("rc-instance").read());
    assert.equal(await instance.locator("dl.facts dd").first().textContent(), "10.0.0.13");
    assert.ok(await instance.evaluate(() => document.documentElement.classList.contains("stale")));
    await page.locator(".state.cut", { hasText: "disconnected" }).waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.classList.contains("stale")));
    await server.start();
    await live(page);
    await live(instance);
    await instance.close();
    await server.register("web", "web-after");
    await page.getByRole("link", { name: "web-after" }).first().waitFor();
    assert.ok(!(await page.evaluate(() => document.documentElement.classList.contains("stale"))));
  });
}
