// Pictures of each page in both themes. Usage: node screenshots.js path/to/rollcall folder
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { launch, open } from "./browser.js";
import { Server } from "./fleet.js";

const [binary, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const server = await new Server(binary, "--webhook-allow-private").start();
const target = createServer((_, reply) => reply.end()); // of a webhook
await new Promise((listening) => target.listen(0, "127.0.0.1", listening));
await server.send("POST", "/v1/webhooks", { url: `http://127.0.0.1:${target.address().port}/hook`, types: ["TrafficChanged", "LeaseExpired"] });
const middle = await server.fill({ evil: false, pause: 400 });
const browser = await launch();
const pages = {
  overview: "/ui/", service: "/ui/service/default/checkout", instance: "/ui/instance/default/users/users-1", gone: "/ui/instance/default/checkout/checkout-9",
  past: `/ui/?at=${middle}`, compare: `/ui/diff?at=${middle}`, audit: "/ui/audit", event: `/ui/audit?event=${middle}`, operate: "/ui/operate",
};
for (const colorScheme of ["light", "dark"]) {
  const page = await open(browser, { colorScheme, viewport: { width: 1240, height: 820 } });
  for (const [name, path] of Object.entries(pages)) {
    await page.setViewportSize({ width: 1240, height: name === "service" ? 1080 : 820 });
    await page.goto(server.url + path);
    await page.waitForTimeout(1200);
    await page.screenshot({ path: join(folder, `ui-${name}-${colorScheme}.png`) });
  }
  await page.leave();
}
await browser.close();
await server.end();
target.close();
target.closeAllConnections();
