// Every page of the web UI, in a real browser against a real server. Usage: node story.js path/to/rollcall [part of a sentence]
import { launch } from "./browser.js";
import { Server } from "./fleet.js";
import { teller } from "./tell.js";
import attacks from "./chapters/attacks.js";
import audit from "./chapters/audit.js";
import connection from "./chapters/connection.js";
import journeys from "./chapters/journeys.js";
import operate from "./chapters/operate.js";
import pages from "./chapters/pages.js";
import past from "./chapters/past.js";
import readers from "./chapters/readers.js";
import sessions from "./chapters/sessions.js";
import steady from "./chapters/steady.js";

const [, , binary, only = ""] = process.argv;
const [server, guarded, browser] = await Promise.all([new Server(binary, "--webhook-allow-private").start(), new Server(binary, "--access", "on").start(), launch()]);
const { tell, end } = teller(browser, only);
const middle = await server.fill();
for (const chapter of [pages, past, journeys, steady, attacks, audit, readers, operate, sessions, connection]) await chapter(tell, { server, guarded, middle });

await Promise.all([browser.close(), server.end(), guarded.end()]);
end();
