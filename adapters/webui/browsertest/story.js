// Every page of the web UI, in a real browser against a real server. Usage: node story.js path/to/rollcall [part of a sentence]
import { strict as assert } from "node:assert";
import { launch, open } from "./browser.js";
import { Server } from "./fleet.js";
import attacks from "./chapters/attacks.js";
import audit from "./chapters/audit.js";
import connection from "./chapters/connection.js";
import operate from "./chapters/operate.js";
import pages from "./chapters/pages.js";
import past from "./chapters/past.js";
import readers from "./chapters/readers.js";

const [, , binary, only = ""] = process.argv;
const [server, guarded, browser] = await Promise.all([new Server(binary).start(), new Server(binary, "--access", "on").start(), launch()]);
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

const middle = await server.fill();
for (const chapter of [pages, past, attacks, audit, readers, operate, connection]) await chapter(tell, { server, guarded, middle });

await Promise.all([browser.close(), server.end(), guarded.end()]);
process.exitCode = failed ? 1 : 0;
