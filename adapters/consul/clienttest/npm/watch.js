// Prints the ids of the healthy instances of web, one line for each change.
const Consul = require("consul");

const [host, port] = process.argv[2].split(":");
const consul = new Consul({ host, port });
const watch = consul.watch({ method: consul.health.service, options: { service: "web", passing: true }, backoffFactor: 100, backoffMax: 1000 });
watch.on("change", (entries) => console.log(entries.map((e) => e.Service.ID).join(" ")));
watch.on("error", () => {}); // it tries again by itself
watch.on("end", () => process.exit(1));
