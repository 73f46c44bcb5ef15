// What a hostile fleet, server or address may try.
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { follow, live, until } from "../browser.js";
import { evil, Server } from "../fleet.js";

export default async function (tell, { server, guarded, middle }) {
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

  await tell("text that would be read as another one is shown as it is", async (page) => {
    const reason = "clean\u009b2J-up \u202egod yb\u202c a\u200bb", shown = "clean<U+009B>2J-up <U+202E>god yb<U+202C> a<U+200B>b";
    await server.register("bidi", "bidi-1", { version: reason, tags: [reason], metadata: { note: reason } });
    await server.send("PUT", "/v1/services/bidi/instances/bidi-1/traffic", { traffic: "draining", reason });
    for (const path of ["/ui/service/default/bidi", "/ui/instance/default/bidi/bidi-1", "/ui/audit?service=bidi", `/ui/diff?at=${middle}`, `/ui/service/default/${encodeURIComponent(reason)}`]) {
      await page.goto(server.url + path);
      await page.locator("main", { hasText: shown }).waitFor();
      assert.doesNotMatch(await page.locator("html").innerText() + await page.title(), /[\u009b\u200b\u202a-\u202e]/, path);
    }
  });

  await tell("every name that the registry takes has links that lead to it, and filters that find it", async (page) => {
    const own = await new Server(server.binary).start();
    const ids = ["a&b=c", "a+b", "a;b", "a'b", "<i>", "a|b^c`d", "{x}", "~!*()", "a:b@c", "...", "$&", "&amp;", "=1", "[1]", "a,b", "@"];
    try {
      for (const id of ids) await own.register("Odd_.-x", encodeURIComponent(id), { zone: "z&z+1", tags: ["a&b", "é ✓"], metadata: { "k&": "v=" } });
      await own.register("Odd_.-x", "plain");
      await page.goto(own.url + "/ui/service/default/Odd_.-x");
      for (const id of ids) {
        await page.locator(".instances").getByRole("link", { name: id, exact: true }).click();
        await page.locator("section[aria-labelledby=history] .entry").first().waitFor();
        await page.locator("dl.facts").first().waitFor();
        assert.ok((await page.locator("h1").textContent()).endsWith(` / ${id}`), id);
        await page.goBack();
      }
      for (const [menu, value] of [["zone", "z&z+1"], ["tag", "é ✓"]]) {
        await page.getByLabel(menu, { exact: true }).selectOption(value);
        await page.reload();
        await page.getByText(`${ids.length} of ${ids.length + 1} instances`).waitFor();
        await page.getByLabel(menu, { exact: true }).selectOption("");
      }
      await follow(page, "/ui/audit?service=Odd_.-x");
      await page.getByRole("link", { name: "Odd_.-x/a|b^c`d" }).first().click();
      await page.locator("dl.facts").first().waitFor();
    } finally {
      await own.end();
    }
  });

  await tell("an address that nobody made shows a page, and no error in the browser", async (page) => {
    const text = encodeURIComponent(evil);
    const addresses = ["constructor", "__proto__", "toString/a/b", "instance/%2F/%3F/%23", `instance/default/evil/${text}`, `service/${text}/x`, `webhook/${text}`,
      `?at=${text}`, "?at=9999999999999999999999", "?at=1900-01-01T00:00:00Z", "?at=2999-01-01T00:00:00Z", `?ns=${text}`, `?q=${text}`, "?span=NaN&q=%00", "service/default/web?sort=__proto__&meta.constructor=x&tag=a&tag=b&check=*",
      "audit?event=-1", `audit?event=${text}`, `audit?type=${text}&service=a/b/c&from=x`, "diff?at=5m", "signed-in", "signed-in?error=x&state="];
    await page.goto(server.url + "/ui/" + addresses[0]);
    for (const address of addresses) {
      if (address.startsWith("signed-in")) await page.goto(`${server.url}/ui/${address}`);
      else await follow(page, `/ui/${address}`);
      await page.waitForFunction((href) => document.querySelector("main h1") && new URL(href, location.href).pathname === location.pathname, `/ui/${address}`);
      assert.equal(await page.locator("img, body script").count(), 0, address);
      assert.doesNotMatch(await page.title(), /^owned/, address);
      assert.deepEqual(page.faults, [], address);
    }
    await page.goto(`${server.url}/ui/?at=${text}`);
    await page.locator(".state.failed").waitFor();
  });

  await tell("fields of any size neither break a page nor its width", async (page) => {
    const long = "x".repeat(4000);
    await server.register("evil", "i".repeat(256), { zone: "z".repeat(128), version: "v".repeat(128), tags: ["t".repeat(2000), "u".repeat(2000)], metadata: { ["k".repeat(128)]: long, b: "y ".repeat(1500) }, owner: "o".repeat(256) });
    await server.send("PUT", `/v1/services/evil/instances/${"i".repeat(256)}/health`, { status: "critical", output: long });
    await page.setViewportSize({ width: 360, height: 740 });
    for (const [address, there] of [["", ".services tbody tr"], ["?q=iiii", ".found a"], ["service/default/evil", ".instances tbody th a"], [`instance/default/evil/${"i".repeat(256)}`, "dl.facts"], ["audit?service=evil", ".entry"], [`diff?at=${middle}`, "section.added li"]]) {
      if (address) await follow(page, `/ui/${address}`);
      else await page.goto(`${server.url}/ui/`);
      await page.locator(there).first().waitFor();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${address} is ${wide} px wider than the window`);
    }
  });

  await tell("a cell of an export is no formula", async (page) => {
    await server.register("evil", "=1+1");
    await page.goto(`${server.url}/ui/audit?service=evil`);
    await page.locator(".entry").first().waitFor();
    const waiting = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export CSV" }).click();
    const text = readFileSync(await (await waiting).path(), "utf8");
    assert.match(text, /,'=1\+1,/);
    assert.doesNotMatch(text, /,=1\+1,/);
  });

  await tell("a stream that is broken is told, and followed again without haste", async (page) => {
    let asked = 0;
    await page.route("**/v1/streams/catalog*", (route) => {
      asked++;
      return route.fulfill({ status: 200, contentType: "text/event-stream", body: asked % 2 ? 'id: 1\nevent: snapshot\ndata: {"position":"1","services":[\n\n' : "event: change\ndata: null\n\n" });
    });
    await page.goto(server.url + "/ui/");
    await page.locator(".state.cut").waitFor();
    const began = Date.now(), before = asked;
    await until(() => assert.ok(asked > before + 2));
    assert.ok(Date.now() - began > 1000, "a broken stream is asked for again and again");
    await page.unroute("**/v1/streams/catalog*");
    await live(page);
    await page.locator(".services tbody tr").nth(5).waitFor();
  });

  await tell("whoever may see one namespace sees that one, and is told about the others", async (page) => {
    const admin = JSON.parse(guarded.cli("token", "create", "filling", "-o", "json", "--role", "admin")).secret;
    const shop = JSON.parse(guarded.cli("token", "create", "shop-only", "-o", "json", "--role", "operator", "--namespace", "shop")).secret;
    for (const ns of ["shop", "hidden"]) await guarded.send("PUT", `/v1/services/of-${ns}/instances/i-1?ns=${ns}`, { address: "10.0.0.1" }, admin);
    await page.goto(guarded.url + "/ui/");
    await page.getByRole("textbox", { name: "Token" }).fill(shop);
    await page.locator("dialog").getByRole("button", { name: "Sign in" }).click();
    await page.locator(".services tbody tr", { hasText: "of-shop" }).waitFor();
    for (const [address, there] of [["", ".services tbody tr"], ["audit", ".entry"], ["operate", "section table"], ["service/shop/of-shop", ".instances tbody th a"], ["instance/shop/of-shop/i-1", "dl.facts"], ["?at=1s%20ago", ".past"],
      ["?ns=hidden", ".state.failed"], ["service/hidden/of-hidden", "h1"], ["instance/hidden/of-hidden/i-1", ".failure"], ["audit?ns=hidden", ".failure"]]) {
      await page.goto(`${guarded.url}/ui/${address}`);
      await page.locator(there).first().waitFor();
      if (address.includes("hidden")) assert.equal(await page.locator("main").getByText("10.0.0.1").count(), 0, address);
      assert.deepEqual(page.faults, [], address);
    }
    await page.goto(`${guarded.url}/ui/operate`);
    await page.getByText("You have no right to manage access.").waitFor();
    await page.goto(`${guarded.url}/ui/instance/hidden/of-hidden/i-1`);
    await page.locator(".failure").first().waitFor();
    assert.equal(await page.locator("main button:visible").count(), 0);
  });
}
