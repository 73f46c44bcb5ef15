// Every page of the web UI, in a real browser against a real server. Usage: node story.js path/to/rollcall
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { launch, open } from "./browser.js";
import { evil, Server } from "./fleet.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const binary = process.argv[2];
const only = process.argv[3] ?? "";
const server = await new Server(binary).start();
const guarded = await new Server(binary, "--access", "on").start();
const browser = await launch();
let failed = 0;

/** A sentence of the story, told by a page of its own. */
async function tell(sentence, run, options) {
  if (!sentence.includes(only)) return;
  const began = Date.now();
  const page = await open(browser, options);
  try {
    await run(page);
    assert.deepEqual(page.faults, [], "faults in the browser");
    console.log(`ok   ${sentence} (${Date.now() - began} ms)`);
  } catch (err) {
    failed++;
    console.log(`FAIL ${sentence}\n${err.stack}\n${page.faults.join("\n")}`);
  } finally {
    await page.context().close();
  }
}

/** Nothing serious stands in the way of anybody who reads the page in another way. */
async function accessible(page, name) {
  await page.context().newCDPSession(page).then((s) => s.send("Runtime.evaluate", { expression: axe })); // the policy allows no script of ours
  const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  const serious = found.violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(serious.map((v) => `${name}: ${v.id}: ${v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3).join(" | ")}`), []);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name} is ${wide} px wider than the window`);
}

const live = (page) => page.locator(".state.live").waitFor();
const middle = await server.fill();
const pages = {
  overview: "/ui/", service: "/ui/service/default/checkout", instance: "/ui/instance/default/users/users-1", gone: "/ui/instance/default/checkout/checkout-9",
  audit: "/ui/audit", event: `/ui/audit?event=${middle}`, diff: `/ui/diff?at=${middle}`, operate: "/ui/operate", past: `/ui/?at=${middle}`, nothing: "/ui/nothing",
};

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
  assert.match(page.url(), /q=mail/);
  await page.getByLabel("Namespace").selectOption("shop");
  await page.getByRole("searchbox").fill("");
  await page.locator(".services tbody tr", { hasText: "billing" }).waitFor();
  assert.equal(await page.locator(".services tbody tr").count(), 1);
});

await tell("a change is seen at once", async (page) => {
  await page.goto(server.url + "/ui/service/default/cart");
  await live(page);
  await page.getByText("5 instances").waitFor();
  await server.register("cart", "cart-new");
  await page.getByRole("link", { name: "cart-new" }).first().waitFor();
  await server.send("DELETE", "/v1/services/cart/instances/cart-new?reason=a%20test");
  await page.locator(".instances tbody").getByText("cart-new").waitFor({ state: "detached" });
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
  await page.goto(server.url + pages.instance);
  await page.locator("td.output", { hasText: "no route to host" }).waitFor();
  await page.locator(".entries", { hasText: "registered at" }).first().waitFor();
  await page.goto(server.url + pages.gone);
  const why = page.locator(".gone");
  await why.getByText("deregistered: scaled down").waitFor();
});

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
  await page.getByLabel("Speed").selectOption("3600");
  await page.getByRole("button", { name: "Play the past" }).click();
  await page.getByText("You are looking at the past").waitFor();
  await live(page);
});

await tell("the lanes show the states of the timeline, and who made them", async (page) => {
  await page.goto(server.url + "/ui/service/default/payments?span=5");
  await page.locator("rc-lanes canvas").scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.querySelector("rc-lanes")?.lanes.length === 4);
  const told = await server.send("GET", "/v1/timeline/services/payments?from=5m%20ago");
  const shown = await page.evaluate(() => document.querySelector("rc-lanes").lanes.map(([id, lane]) => [id, lane.map((i) => i.state)]));
  assert.deepEqual(shown, told.lanes.map((l) => [l.id, l.intervals.map((i) => (i.traffic === "serving" ? i.status : i.traffic))]));
  assert.deepEqual(shown[0], ["payments-1", ["passing", "maintenance"]]);
  const box = await page.locator("rc-lanes canvas").boundingBox();
  await page.mouse.move(box.x + box.width - 3, box.y + 10);
  await page.locator(".tip", { hasText: "replacing the disk (by anonymous)" }).waitFor();
  await page.mouse.click(box.x + box.width - 3, box.y + 10);
  await page.waitForURL("**/ui/instance/default/payments/payments-1*");
});

await tell("the comparison names the event of each difference", async (page) => {
  await page.goto(server.url + `/ui/?at=${middle}`);
  await page.getByRole("link", { name: "compare with now" }).click();
  const gone = page.locator("section.removed li", { hasText: "checkout/checkout-9" });
  await gone.getByText("deregistered: scaled down").waitFor();
  await page.locator("section.changed").getByText("traffic went from serving to maintenance: replacing the disk").waitFor();
  await gone.locator(".who a").click();
  await page.locator("dialog .proof.good").waitFor();
});

await tell("the audit is filtered and exported", async (page) => {
  await page.goto(server.url + "/ui/audit");
  await page.getByLabel("Type").selectOption("TrafficChanged");
  await page.getByText("That is all: 3 events.").waitFor();
  await page.getByLabel("Reason has").fill("disk");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("That is all: 1 event.").waitFor();
  await page.getByLabel("Reason has").fill("");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("That is all: 3 events.").waitFor();
  for (const [name, lines] of [["CSV", 4], ["NDJSON", 3]]) {
    const waiting = page.waitForEvent("download");
    await page.getByRole("button", { name: `Export ${name}` }).click();
    const text = readFileSync(await (await waiting).path(), "utf8");
    assert.equal(text.trim().split("\n").length, lines, text);
    assert.match(text, /replacing the disk/);
  }
});

await tell("the audit scrolls to its beginning", async (page) => {
  for (let n = 0; n < 130; n++) await server.send("PUT", "/v1/services/mail/instances/mail-1/health", { status: n % 2 ? "passing" : "warning" });
  await page.goto(server.url + "/ui/audit");
  await page.locator(".entry").first().waitFor();
  for (let n = 0; n < 8 && !(await page.getByText("That is all").isVisible()); n++) {
    await page.keyboard.press("End");
    await page.waitForTimeout(150);
  }
  await page.getByText("That is all").waitFor();
  const stats = await server.send("GET", "/v1/status");
  assert.equal(await page.locator(".entry").count(), stats.history.entries);
});

await tell("a proof is green, and red with any byte flipped", async (page) => {
  const position = middle;
  await page.goto(server.url + `/ui/audit?event=${position}`);
  await page.locator("dialog .proof.good").waitFor();
  const flip = {
    "the event": ["**/v1/proofs/inclusion*", (text) => text.replace('"zone":"eu-1a"', '"zone":"eu-1b"')],
    "the proof": ["**/v1/proofs/inclusion*", (text) => text.replace(/"proof":\["(.)/, (_, c) => `"proof":["${c === "A" ? "B" : "A"}`)],
    "the hash": ["**/v1/proofs/inclusion*", (text) => text.replace(/"hash":"(.)/, (_, c) => `"hash":"${c === "A" ? "B" : "A"}`)],
    "the leaf": ["**/v1/proofs/inclusion*", (text) => text.replace(/"leaf":(\d+)/, (_, n) => `"leaf":${Number(n) + 1}`)],
    "the root of the checkpoint": ["**/v1/checkpoint", (text) => text.replace(/\n(.)([^\n]*)\n\n/, (_, c, rest) => `\n${c === "A" ? "B" : "A"}${rest}\n\n`)],
    "the signature": ["**/v1/checkpoint", (text) => text.replace(/.(.{8})\n$/, (_, rest) => `${_[0] === "A" ? "B" : "A"}${rest}\n`)],
    "the key": ["**/v1/checkpoint/key", (text) => text.replace(/.(.{8})\n$/, (_, rest) => `${_[0] === "A" ? "B" : "A"}${rest}\n`)],
  };
  for (const [what, [pattern, change]] of Object.entries(flip)) {
    let changed = false;
    await page.route(pattern, async (route) => {
      const reply = await route.fetch();
      const text = await reply.text();
      changed = change(text) !== text;
      await route.fulfill({ response: reply, body: change(text) });
    });
    await page.reload();
    await page.locator("dialog .proof.bad").waitFor().catch((err) => assert.fail(`${what}: ${err}`));
    assert.ok(changed, `nothing of ${what} was changed`);
    await page.unroute(pattern);
  }
});

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

await tell("a page that lost the registry says so, and comes back by itself", async (page) => {
  await page.goto(server.url + "/ui/service/default/web");
  await live(page);
  await page.getByRole("link", { name: "web-3" }).first().waitFor();
  await server.kill("SIGKILL");
  await page.locator(".state.cut", { hasText: "disconnected" }).waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.classList.contains("stale")));
  await server.start();
  await live(page);
  await server.register("web", "web-after");
  await page.getByRole("link", { name: "web-after" }).first().waitFor();
  assert.ok(!(await page.evaluate(() => document.documentElement.classList.contains("stale"))));
});

const all = Object.keys(pages);
await Promise.all([["light", { width: 1280, height: 860 }, all], ["dark", { width: 1280, height: 860 }, ["overview", "service", "event", "past"]], ["light", { width: 360, height: 740 }, ["overview", "service", "instance", "event"]]].map(([theme, viewport, names]) =>
  tell(`everybody can read every page (${theme}, ${viewport.width} px)`, async (page) => {
    for (const name of names) {
      await page.goto(server.url + pages[name]);
      await page.locator("h1").first().waitFor({ state: "attached" });
      await page.waitForTimeout(250);
      await accessible(page, name);
    }
  }, { colorScheme: theme, viewport })));

await tell("the keyboard reaches everything", async (page) => {
  await page.goto(server.url + "/ui/");
  await live(page);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to the page");
  await page.keyboard.press("Enter");
  const reached = new Set();
  for (let n = 0; n < 120; n++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent));
  }
  for (const name of ["Search", "checkout", "Play the past", "Moment"]) assert.ok(reached.has(name), `${name} is not reached: ${[...reached].join(", ")}`);
});

await browser.close();
await server.end();
await guarded.end();
process.exitCode = failed ? 1 : 0;
