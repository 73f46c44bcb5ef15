// A story told through a generated client: register, look up, renew, read a problem, look into the past.
// It ends with an exception at the first thing that is not as the description says.
import createClient from "openapi-fetch";
import type { components, paths } from "./build/rollcall.js";

declare const process: { argv: string[] };

const url = process.argv[2];
if (url === undefined) throw new Error("usage: story.js URL");
const rollcall = createClient<paths>({ baseUrl: url });

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`there is no ${what}`);
  return value;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`);
}

const path = { service: "checkout", id: "ts-1" };

// The fewest fields make an instance that may get traffic.
const registered = await rollcall.PUT("/v1/services/{service}/instances/{id}", {
  params: { path },
  body: { address: "127.0.0.1" },
});
const result: components["schemas"]["Result"] = must(registered.data, "result");
check(registered.response.status === 201 && result.epoch === 1, "a first registration is answered with 201 and epoch 1");

const list = await rollcall.GET("/v1/services/{service}/instances", {
  params: { path: { service: "checkout" }, query: { ready: true, after: result.position } },
});
const instances = must(list.data, "list").instances;
check(instances.length === 1 && must(instances[0], "instance").address === "127.0.0.1", "the instance is ready");

// Changes are followed from here on. A stream is text: lines "data: " and a change as JSON.
const stream = await rollcall.GET("/v1/streams/services/{service}", {
  params: { path: { service: "checkout" }, header: { "Last-Event-ID": result.position } },
  parseAs: "stream",
});
const changes = must(stream.response.ok ? (stream.data as ReadableStream<Uint8Array> | null) ?? undefined : undefined, "stream").getReader();
const decoder = new TextDecoder();
async function change(): Promise<components["schemas"]["Change"]> {
  for (let text = ""; ; ) {
    text += decoder.decode(must((await changes.read()).value, "change"), { stream: true });
    const data = /^data: (.*)\n\n/m.exec(text);
    if (data?.[1] !== undefined) return JSON.parse(data[1]) as components["schemas"]["Change"];
  }
}

// A batch of which one fails.
const batch = await rollcall.POST("/v1/heartbeats", { body: ["checkout/ts-1", "checkout/nobody"] });
const { succeeded, failed } = must(batch.data, "batch");
check(succeeded.length === 1 && succeeded[0]?.index === 0 && succeeded[0].id === "ts-1", "the first is renewed");
check(failed.length === 1 && failed[0]?.index === 1 && failed[0].problem.type === "urn:rollcall:problem:unknown-instance", "the second is refused");

// A command is what its type says.
const commands = await rollcall.POST("/v1/commands", {
  body: [
    { type: "ReportHealth", service: "checkout", id: "ts-1", status: "warning" },
    { type: "RegisterInstance", service: "checkout", id: "ts-2", address: "not an address" },
  ],
});
check(must(commands.data, "batch").succeeded.length === 1 && must(commands.data, "batch").failed[0]?.problem.field === "address", "one is carried out, one is refused");
const changed = await change();
check(changed.type === "HealthChanged" && changed.id === "ts-1", "the stream tells of the report");
await changes.cancel();

// A problem has a type and names the field.
const refused = await rollcall.PUT("/v1/services/{service}/instances/{id}", {
  params: { path },
  body: { address: "not an address" },
});
const problem: components["schemas"]["Problem"] = must(refused.error, "problem");
check(problem.type === "urn:rollcall:problem:invalid-field" && problem.field === "address", "the problem names the field");

const gone = await rollcall.DELETE("/v1/services/{service}/instances/{id}", {
  params: { path, query: { reason: "the story ends" } },
});
check(gone.response.ok, "it is deregistered");
const missing = await rollcall.GET("/v1/services/{service}/instances/{id}", { params: { path } });
check(missing.response.status === 410 && must(missing.error, "problem").event?.type === "InstanceDeregistered", "it is gone, and the event says how");

// The past still has it.
const past = await rollcall.GET("/v1/catalog", { params: { query: { at: result.position } } });
check(must(past.data, "catalog").services.length === 1, "the catalog at that position has the service");

// History comes in pages.
let cursor: string | undefined;
const types: string[] = [];
do {
  const page = await rollcall.GET("/v1/services/{service}/instances/{id}/history", {
    params: { path, query: { limit: 1, order: "oldest", ...(cursor === undefined ? {} : { cursor }) } },
  });
  const data = must(page.data, "page");
  types.push(...data.entries.map((entry) => entry.type));
  cursor = data.next;
} while (cursor !== undefined);
check(types.join() === "InstanceRegistered,HealthChanged,InstanceDeregistered", `the history is whole: ${types.join()}`);

// An event's type says what its data is.
const log = await rollcall.GET("/v1/events", { params: { query: { service: "checkout" } }, parseAs: "text" });
for (const line of must(log.data as string | undefined, "log").trim().split("\n")) {
  const event = JSON.parse(line) as components["schemas"]["Event"];
  if (event.type === "InstanceDeregistered") check(event.data.reason === "the story ends", "the reason is kept");
}
