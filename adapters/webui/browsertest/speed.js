// How fast the web UI is with 10,000 instances. Usage: node speed.js path/to/rollcall
import { launch, open } from "./browser.js";
import { Server } from "./fleet.js";

const server = await new Server(process.argv[2]).start();
const browser = await launch();
const instances = 10_000;
const serviceOf = (i) => (i < 2000 ? "big" : `service-${i % 100}`);

/** Sends commands in batches. */
async function send(commands) {
  for (let i = 0; i < commands.length; i += 500) {
    const body = commands.slice(i, i + 500).map((c) => JSON.stringify(c)).join("\n");
    const reply = await fetch(`${server.url}/v1/commands`, { method: "POST", headers: { "Content-Type": "application/x-ndjson" }, body });
    const result = await reply.json();
    if (!reply.ok || result.failed.length) throw new Error(JSON.stringify(result.failed?.[0] ?? result));
  }
}

const sorted = (times) => [...times].sort((a, b) => a - b);
const quantile = (times, q) => Math.round(sorted(times)[Math.min(times.length - 1, Math.floor(q * times.length))]);
const tell = (what, times) => console.log(`${what}: p50 ${quantile(times, 0.5)} ms, p95 ${quantile(times, 0.95)} ms, most ${quantile(times, 1)} ms`);

const began = Date.now();
await send(Array.from({ length: instances }, (_, i) => ({
  type: "RegisterInstance", service: serviceOf(i), id: `instance-${i}`, address: `10.0.${i >> 8}.${i & 255}`, ports: { http: 8080 },
  zone: `eu-1${"abc"[i % 3]}`, version: i % 4 ? "1.4.2" : "1.5.0", ttl: "10m", tags: ["primary"], metadata: { team: serviceOf(i) },
})));
for (let k = 0; k < 25; k++) {
  await send(Array.from({ length: 2000 }, (_, i) => ({ type: "ReportHealth", service: "big", id: `instance-${i}`, status: ["critical", "passing", "warning"][(k + i) % 3], output: "as the test says" })));
}
console.log(`${instances} instances and 50,000 changes of one service are there after ${Date.now() - began} ms`);
const page = await open(browser);

const opened = { paint: [], interactive: [] };
for (let n = 0; n < 5; n++) {
  await page.goto(`${server.url}/ui/?span=5`);
  await page.locator(".services tbody tr").first().waitFor();
  await page.locator(".state.live").waitFor();
  const times = await page.evaluate(() => ({ paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0, now: performance.now() }));
  opened.paint.push(times.paint);
  opened.interactive.push(times.now);
}
tell("first paint of the overview", opened.paint);
tell("the overview is live", opened.interactive);

const dragged = await page.evaluate(async () => {
  const app = document.querySelector("rc-app");
  const range = app.slider.range;
  const from = Number(range.min), to = Number(range.max), begins = from + 0.6 * (to - from);
  const next = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let n = 0; n < 100; n++) {
    range.value = String(begins + ((n * 37) % 100) / 100 * (to - begins - 2000));
    const began = performance.now();
    range.dispatchEvent(new Event("input"));
    const at = app.fleet.wanted;
    while (app.fleet.moment !== at) await next();
    await next();
    times.push(performance.now() - began);
  }
  return times;
});
tell("the slider's answer", dragged);

await page.goto(`${server.url}/ui/service/default/big?span=5`);
await page.locator(".instances tbody tr").nth(5).waitFor();
const frames = await page.evaluate(async () => {
  const times = [];
  let last = performance.now();
  for (let n = 0; n < 120; n++) {
    scrollBy(0, 400);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last);
    last = performance.now();
  }
  return times;
});
tell("a frame of scrolling 2,000 instances", frames);

const lanesBegan = Date.now();
await page.waitForFunction(() => document.querySelector("rc-lanes .note")?.textContent);
console.log(`the lanes are read after ${Date.now() - lanesBegan} ms`);
const drawn = await page.evaluate(() => {
  const lanes = document.querySelector("rc-lanes");
  lanes.scrollIntoView();
  const all = lanes.lanes;
  const measure = () => Array.from({ length: 20 }, () => {
    const began = performance.now();
    lanes.draw();
    lanes.canvas.getContext("2d").getImageData(0, 0, 1, 1); // waits for what was drawn
    return performance.now() - began;
  });
  const many = measure();
  lanes.lanes = [["one", all.flatMap(([, lane]) => lane).sort((a, b) => a.from - b.from)]];
  const one = measure();
  lanes.lanes = all;
  return { many, one, intervals: all.reduce((n, [, lane]) => n + lane.length, 0) };
});
tell(`drawing ${drawn.intervals} states in 2,000 lanes`, drawn.many);
tell(`drawing them in one lane`, drawn.one);

await browser.close();
await server.end();
