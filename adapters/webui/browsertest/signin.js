// Signing in on the page with a provider of OpenID Connect. Usage: node signin.js registry provider token-of-an-admin
// The test of adapters/access/oidctest runs the provider.
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { launch, live } from "./browser.js";
import { teller } from "./tell.js";

const [, , registry, provider, admin] = process.argv;
const browser = await launch();
const { tell, end } = teller(browser);
const options = { ignoreHTTPSErrors: true }; // the provider's certificate is its own
const start = "/ui/service/default/checkout?sort=-zone";

const reply = await fetch(`${registry}/v1/services/checkout/instances/a-1`, { method: "PUT", headers: { "Content-Type": "application/json", Authorization: `Bearer ${admin}` }, body: '{"address":"10.0.0.1"}' });
assert.equal(reply.status, 201);

/** Goes to the provider, and gives a name and a password there. */
async function logIn(page, name = `test-user@${new URL(provider).hostname}`) {
  await page.goto(registry + start);
  await page.getByRole("button", { name: "Sign in with Corp's directory" }).click();
  await page.locator("input[name=username]").fill(name);
  await page.locator("input[name=password]").fill("verysecure");
  await page.getByRole("button", { name: "Log in" }).click();
}

const kept = (page) => page.evaluate(() => sessionStorage.getItem("rollcall.token"));
const refused = async (page, why) => {
  await page.getByRole("alert").getByText(why).waitFor();
  assert.equal(await kept(page), null);
};

await tell("somebody signs in, is at the page where they began, and signs out", async (page) => {
  const asked = {};
  page.on("request", (r) => {
    const url = new URL(r.url());
    if (url.origin !== provider) return;
    if (url.searchParams.has("code_challenge")) asked.authorization = url.searchParams;
    if (r.method() === "POST" && r.postData()?.includes("code_verifier")) asked.exchange = { body: new URLSearchParams(r.postData()), headers: r.headers() };
  });
  await logIn(page);
  await page.waitForURL(registry + start);
  await page.getByRole("button", { name: "corp:id1 · sign out" }).waitFor();
  await live(page);
  assert.equal(asked.authorization.get("code_challenge_method"), "S256");
  assert.equal(createHash("sha256").update(asked.exchange.body.get("code_verifier")).digest("base64url"), asked.authorization.get("code_challenge"));
  assert.ok(!asked.exchange.body.has("client_secret") && !asked.exchange.headers.authorization);
  assert.ok((await kept(page)).startsWith("ey"));
  assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage)]), [[], ["rollcall.token"]]);
  assert.equal(await page.evaluate((url) => fetch(url).then(() => "reached", () => "refused"), provider), "refused"); // by the policy of every other page
  page.faults.length = 0; // it told so
  await page.goto(`${registry}/ui/instance/default/checkout/a-1`);
  await page.getByRole("button", { name: "Drain" }).click();
  await page.locator("dialog").getByRole("button", { name: "Drain" }).click();
  await page.locator(".entries").getByText("by corp:id1").first().waitFor();
  await page.getByRole("button", { name: "corp:id1 · sign out" }).click();
  await page.locator("dialog.sign-in").waitFor();
  assert.equal(await kept(page), null);
}, options);

await tell("a reply that nobody asked for is refused, and so is one that comes again", async (page) => {
  await page.goto(`${registry}/ui/signed-in?code=stolen&state=guessed`);
  await refused(page, "no sign-in that was begun in this tab");
  assert.equal(page.url(), `${registry}/ui/signed-in`);
  let address = "";
  page.on("request", (r) => r.url().includes("/ui/signed-in?") && (address = r.url()));
  await logIn(page);
  await page.getByRole("button", { name: "corp:id1 · sign out" }).waitFor();
  await page.evaluate(() => sessionStorage.removeItem("rollcall.token"));
  await page.goto(address);
  await refused(page, "no sign-in that was begun in this tab");
}, options);

await tell("a reply with another state, or of another issuer, is refused", async (page) => {
  for (const [name, value, why] of [["state", "other", "no sign-in that was begun in this tab"], ["iss", "https://evil.example", "of another issuer"], ["error", "access_denied", "The issuer says: access_denied"]]) {
    await page.route("**/login/username", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      const through = (await route.fetch({ maxRedirects: 0 })).headers().location;
      const back = new URL((await page.context().request.get(new URL(through, provider).href, { maxRedirects: 0 })).headers().location);
      back.searchParams.set(name, value);
      return route.fulfill({ status: 302, headers: { Location: String(back) } });
    });
    await logIn(page);
    await refused(page, why);
    await page.unroute("**/login/username");
  }
}, options);

await tell("a token that was made for another sign-in is refused", async (page) => {
  const changes = {
    "made for another sign-in": (claims) => ({ ...claims, nonce: "another" }),
    "meant for somebody else": (claims) => ({ ...claims, aud: ["another"] }),
  };
  for (const [why, change] of Object.entries(changes)) {
    await page.route("**/oauth/token", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      const reply = await route.fetch();
      const body = await reply.json();
      const [head, payload, signature] = body.id_token.split(".");
      const claims = change(JSON.parse(Buffer.from(payload, "base64url").toString()));
      body.id_token = [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
      return route.fulfill({ response: reply, json: body });
    });
    await logIn(page);
    await refused(page, why);
    await page.unroute("**/oauth/token");
  }
}, options);

await tell("somebody whom no rule names is told what they may not do", async (page) => {
  await logIn(page, "test-user2");
  await page.getByRole("button", { name: "corp:id2 · sign out" }).waitFor();
  await page.locator(".state.failed").waitFor();
  assert.equal(await page.locator(".instances tbody th").filter({ hasText: "a-1" }).count(), 0);
}, options);

await browser.close();
end();
