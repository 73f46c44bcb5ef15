// What a hostile fleet, server or address may try.
import { strict as assert } from "node:assert";
import { evil } from "../fleet.js";

export default async function (tell, { server, middle }) {
  await tell("text that looks like markup stays text", async (page) => {
    for (const path of ["/ui/?q=src", "/ui/service/default/evil", "/ui/instance/default/evil/evil-1", "/ui/audit", `/ui/diff?at=${middle}`]) {
      await page.goto(server.url + path);
      await page.locator("main :is(li, dd):visible", { hasText: "onerror" }).first().waitFor();
      assert.equal(await page.locator("img, body script").count(), 0, path);
      assert.doesNotMatch(await page.title(), /owned/);
    }
    await page.goto(server.url + "/ui/service/default/" + encodeURIComponent(evil));
    await page.locator("h1", { hasText: "onerror" }).waitFor();
    assert.equal(await page.locator("main img").count(), 0);
  });
}
