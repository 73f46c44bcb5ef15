// A real server with a scripted fleet.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What the fleet holds as text that a careless page would run. */
export const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;

export class Server {
  /** @param {string} binary @param {string[]} flags */
  constructor(binary, ...flags) {
    this.binary = binary;
    this.flags = flags;
    this.data = mkdtempSync(join(tmpdir(), "rollcall-ui-"));
    this.listen = "127.0.0.1:0";
  }

  /** Starts the server. One that is started again waits until its port is free: another program may have it for a moment. */
  async start() {
    for (let n = 1; ; n++) {
      try {
        return await this.startOnce();
      } catch (err) {
        if (n === 20) throw err;
      }
      await new Promise((again) => setTimeout(again, 500));
    }
  }

  async startOnce() {
    let told = "";
    this.process = spawn(this.binary, ["serve", "--listen", this.listen, "--data", this.data, "--min-free-mib", "1", "--log-format", "json", ...this.flags], { stdio: ["ignore", "ignore", "pipe"] });
    this.exited = new Promise((done) => this.process.on("exit", done));
    this.url = await new Promise((ready, fail) => {
      this.process.on("exit", (code) => fail(new Error(`the server ended with ${code}\n${told}`)));
      createInterface({ input: this.process.stderr }).on("line", (line) => {
        told = `${told}${line}\n`.slice(-8000);
        if (line.includes('"rollcall is ready"')) ready(JSON.parse(line).url);
      });
    });
    this.listen = new URL(this.url).host; // the same port at the next start
    return this;
  }

  async kill(signal = "SIGKILL") {
    this.process.kill(signal);
    await this.exited;
  }

  async end() {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** Runs a command of the command line against the data folder. */
  cli(...args) {
    return execFileSync(this.binary, [...args, "--data", this.data], { encoding: "utf8" });
  }

  /** Runs a command of the command line against the URL. */
  ask(...args) {
    return execFileSync(this.binary, [...args, "--url", this.url], { encoding: "utf8" });
  }

  async send(method, path, body, token) {
    const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const reply = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
    return text && JSON.parse(text);
  }

  register(service, id, details = {}, ns = "default") {
    return this.send("PUT", `/v1/services/${service}/instances/${id}?ns=${ns}`, { address: "10.0.0.5", ports: { http: 8080 }, zone: "eu-1a", version: "1.4.2", ttl: "10m", ...details });
  }

  /** Registers the fleet of the story. The result is a position in the middle of it. pause is the time between the changes in ms. */
  async fill({ evil: withEvil = true, pause = 0 } = {}) {
    const later = () => new Promise((done) => setTimeout(done, pause));
    const zones = ["eu-1a", "eu-1b", "eu-1c"];
    for (const [service, size] of Object.entries({ cart: 5, checkout: 8, mail: 2, payments: 4, search: 6, users: 4, web: 6 })) {
      for (let n = 1; n <= size; n++) {
        await this.register(service, `${service}-${n}`, { address: `10.0.${n % 3}.${10 + n}`, zone: zones[n % 3], version: n % 4 ? "1.4.2" : "1.5.0-rc1", tags: n === 1 ? ["primary"] : [], metadata: { team: service } });
      }
    }
    const middle = (await this.register("checkout", "checkout-9", { ttl: "10m" })).position;
    await this.register("billing", "billing-1", {}, "shop");
    await later();
    await this.send("PUT", "/v1/services/checkout/instances/checkout-2/health", { status: "critical", output: "connection pool exhausted" });
    await later();
    await this.send("PUT", "/v1/services/search/instances/search-3/health", { status: "warning", output: "slow index" });
    await later();
    await this.send("PUT", "/v1/services/payments/instances/payments-1/traffic", { traffic: "maintenance", reason: "replacing the disk" });
    await later();
    await this.send("PUT", "/v1/services/web/instances/web-2/traffic", { traffic: "draining", reason: "deploy 42" });
    await this.send("PUT", "/v1/services/users/instances/users-1/checks/db", { kind: "ttl", ttl: "10m", name: "Database" });
    await this.send("POST", "/v1/services/users/instances/users-1/checks/db/fail", { output: "no route to host" });
    await this.send("DELETE", "/v1/services/checkout/instances/checkout-9?reason=scaled%20down");
    await later();
    if (!withEvil) return middle;
    await this.register("evil", "evil-1", { tags: [evil], metadata: { note: evil } });
    await this.send("PUT", "/v1/services/evil/instances/evil-1/traffic", { traffic: "draining", reason: evil });
    return middle;
  }
}
