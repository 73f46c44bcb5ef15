"""Registers an instance, reports its check, looks it up, and deregisters it."""

import sys

import consul

host, port = sys.argv[1].split(":")
client = consul.Consul(host=host, port=int(port))


def passing():
    index, entries = client.health.service("from-python", passing=True)
    assert isinstance(index, str) and int(index) >= 1, index
    return [e["Service"]["ID"] for e in entries]


assert client.agent.service.register("from-python", service_id="p 1", port=80, tags=["v1"], check=consul.Check.ttl("15s"))
assert passing() == []
assert client.agent.check.ttl_pass("service:p 1", "fine")
assert passing() == ["p 1"]
assert client.agent.services()["p 1"]["Tags"] == ["v1"]
assert client.agent.checks()["service:p 1"]["Output"] == "fine"
assert client.agent.service.maintenance("p 1", "true", "an upgrade")
assert passing() == []
assert client.agent.service.maintenance("p 1", "false")
assert client.catalog.services()[1]["from-python"] == ["v1"]
assert client.catalog.register("elsewhere", "10.0.0.7", service={"service": "from-python", "id": "q", "port": 81}, check={"name": "q", "status": "passing", "service_id": "q"})
assert passing() == ["p 1", "q"], passing()
assert client.catalog.deregister("elsewhere", service_id="q")
assert client.agent.service.deregister("p 1")
assert client.catalog.service("from-python")[1] == []
assert client.kv.get("a")[1] is None
assert client.status.leader() and client.status.peers()
