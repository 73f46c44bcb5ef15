// Sentences of a story, each told by a page of its own.
import { strict as assert } from "node:assert";
import { open } from "./browser.js";

/** Tells the sentences that have a text in them. end sets the exit code of the process. */
export function teller(browser, only = "") {
  let failed = 0;
  return {
    async tell(sentence, run, options) {
      if (!sentence.includes(only)) return;
      const began = Date.now();
      const page = await open(browser, options);
      try {
        await run(page);
        assert.deepEqual(page.faults, [], "faults in the browser");
        console.log(`ok   ${sentence} (${Date.now() - began} ms)`);
      } catch (err) {
        failed++;
        console.log(`FAIL ${sentence}\nat ${page.url()}\n${err.stack}\n${page.faults.join("\n")}`);
      } finally {
        await page.leave();
      }
    },
    end() {
      process.exitCode = failed ? 1 : 0;
    },
  };
}
