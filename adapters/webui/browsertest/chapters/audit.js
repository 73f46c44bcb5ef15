// The audit and its proofs.
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";

export default async function (tell, { server, middle }) {
  await tell("the audit is filtered and exported", async (page) => {
    const { entries } = await server.send("GET", "/v1/history?ns=*&type=TrafficChanged");
    await page.goto(server.url + "/ui/audit");
    await page.getByLabel("Type").selectOption("TrafficChanged");
    await page.getByText(`That is all: ${entries.length} events.`).waitFor();
    await page.getByLabel("Reason has").fill("disk");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByText("That is all: 1 event.").waitFor();
    await page.getByLabel("Reason has").fill("");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByText(`That is all: ${entries.length} events.`).waitFor();
    for (const [name, lines] of [["CSV", entries.length + 1], ["NDJSON", entries.length]]) {
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
    await page.waitForFunction(() => {
      scrollTo(0, document.documentElement.scrollHeight);
      return document.querySelector("rc-audit [role=status]")?.textContent.startsWith("That is all");
    });
    const { entries } = await server.send("GET", "/v1/history?ns=*&order=oldest&limit=1");
    assert.equal(await page.locator(".entry").last().getAttribute("data-key"), entries[0].position);
    assert.ok((await page.locator(".entry").count()) > 170);
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
}
