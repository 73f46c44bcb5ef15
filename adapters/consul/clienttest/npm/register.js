// Registers an instance, reports its check, looks it up, and deregisters it.
const Consul = require("consul");

const [host, port] = process.argv[2].split(":");
const consul = new Consul({ host, port });

async function main() {
  await consul.agent.service.register({ id: "n:1/a b", name: "from-node", tags: ["v1"], port: 80, check: { ttl: "15s" } });
  let entries = await consul.health.service({ service: "from-node", passing: true });
  if (entries.length !== 0) throw new Error("it passes before its first report");
  await consul.agent.check.pass("service:n:1/a b");
  entries = await consul.health.service({ service: "from-node", passing: true });
  if (entries.length !== 1 || entries[0].Service.ID !== "n:1/a b" || entries[0].Checks[0].Status !== "passing") throw new Error("found " + JSON.stringify(entries));
  const checks = await consul.agent.check.list();
  if (!checks["service:n:1/a b"]) throw new Error("the checks are " + JSON.stringify(checks));
  await consul.agent.service.maintenance({ id: "n:1/a b", enable: true, reason: "an upgrade" });
  entries = await consul.health.service({ service: "from-node", passing: true });
  if (entries.length !== 0) throw new Error("it passes in maintenance");
  await consul.agent.service.maintenance({ id: "n:1/a b", enable: false });
  await consul.agent.service.deregister("n:1/a b");
  const services = await consul.catalog.service.list();
  if (services["from-node"]) throw new Error("the services are " + JSON.stringify(services));
  try {
    await consul.agent.check.pass("service:n:1/a b");
    throw new Error("a check that is gone was passed");
  } catch (err) {
    if (err.statusCode !== 404) throw err;
  }
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
