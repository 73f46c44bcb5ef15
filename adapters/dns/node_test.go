package dns_test

import (
	"strings"
	"testing"
	"time"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// at is an instance that a client of Consul registered at a node.
func at(node, address string) func(*wire.Instance) {
	return func(i *wire.Instance) {
		i.Origin = domain.Origin(`{"consul":{"node":"` + node + `","node_address":"` + address + `"}}`)
	}
}

// stands is an instance that stands for a node.
func stands(node, meta string, status domain.Status) func(*wire.Instance) {
	return func(i *wire.Instance) {
		i.Status, i.Ports = status, nil
		i.Origin = domain.Origin(`{"consul":{"node":"` + node + `","node_address":"` + i.Address + `","is_node":true,"node_meta":` + meta + `}}`)
	}
}

func TestANodeIsAnsweredByItsName(t *testing.T) {
	r := &registry{}
	r.add("default/web/a", "10.0.0.1", at("Worker-1", "10.9.0.1"))
	r.add("default/web/b", "10.0.0.2", at("rack.two", "2001:db8::2"))
	r.add("default/web/native", "10.0.0.3")
	r.add("default/web/named", "db.example")
	r.add("default/api/old", "10.0.0.4", at("moved", "10.9.0.3"), func(i *wire.Instance) { i.ChangedAt = time.Unix(1, 0) })
	r.add("default/web/new", "10.0.0.4", at("moved", "10.9.0.4"), func(i *wire.Instance) { i.ChangedAt = time.Unix(2, 0) })
	r.add("default/ip-10-0-0-3/web", "10.0.0.9") // a service that is called like a node
	r.add("default/consul-node/alone", "10.9.0.5", stands("alone", `{"rfc1035-free":"free text","os":"linux"}`, domain.Critical))
	r.add("default/consul-node/worker-1", "10.9.0.6", stands("worker-1", `null`, domain.Passing))
	r.add("shop/web/a", "10.0.0.7", at("far", "10.9.0.7"))
	s := serve(t, r, dns.Options{})
	for question, want := range map[string]string{
		"ip-10-0-0-3.node.consul. A":        "NOERROR: 10.0.0.3",
		"IP-10-0-0-3.node.DC1.consul. A":    "NOERROR: 10.0.0.3",
		"ip-10-0-0-3.node.dc2.consul. A":    "NXDOMAIN SOA",
		"ip-10-0-0-3.node.consul. AAAA":     "NOERROR SOA",
		"ip-10-0-0-3.node.consul. SRV":      "NOERROR SOA",
		"ip-10-0-0-3.node.consul. TXT":      "NOERROR SOA",
		"web.ip-10-0-0-3.node.consul. A":    "NOERROR: 10.0.0.9",
		"ip-10-0-0-4.node.consul. A":        "NXDOMAIN SOA", // its instance says where it is
		"worker-1.node.consul. A":           "NOERROR: 10.9.0.6",
		"rack.two.node.consul. AAAA":        "NOERROR: 2001:db8::2",
		"rack.two.node.consul. A":           "NOERROR SOA",
		"db.example.node.consul. A":         "NOERROR: db.example.",
		"moved.node.consul. A":              "NOERROR: 10.9.0.4",
		"alone.node.consul. A":              "NOERROR: 10.9.0.5",
		"alone.node.consul. TXT":            `NOERROR: "free text", "os=linux"`,
		"alone.node.consul. ANY":            `NOERROR: "free text", "os=linux", 10.9.0.5`,
		"alone.node.consul. MX":             "NOERROR SOA",
		"far.node.consul. A":                "NXDOMAIN SOA",
		"far.node.shop.consul. A":           "NOERROR: 10.9.0.7",
		"far.node.shop.ns.dc1.dc.consul. A": "NOERROR: 10.9.0.7",
		"alone.consul-node.node.consul. A":  "NXDOMAIN SOA",
		"consul-node.node.consul. A":        "NXDOMAIN SOA",
		"consul-node.service.consul. A":     "NXDOMAIN SOA",
		"5.0.9.10.in-addr.arpa. PTR":        "NOERROR: alone.node.consul.",
		"_alone._tcp.node.consul. A":        "NXDOMAIN SOA",
		"nobody.node.consul. A":             "NXDOMAIN SOA",
		"web.node.consul. A":                "NOERROR SOA",
		"a.web.node.consul. A":              "NOERROR: 10.0.0.1",
	} {
		name, kind, _ := strings.Cut(question, " ")
		if got := said(s.ask("udp", name, lib.StringToType[kind])); got != want {
			t.Errorf("%s: %s, want %s", question, got, want)
		}
	}
}

// A check of a node counts for every instance at the node, as in Consul: critical takes the instances out, and a warning gives
// them the weight that they have for it.
func TestChecksOfANodeCountForWhatIsAtIt(t *testing.T) {
	for _, c := range []struct {
		node     domain.Status
		instance domain.Status
		want     string
	}{
		{domain.Passing, domain.Passing, "NOERROR: 1 100 8080 b.web.node.consul., 1 300 8080 a.web.node.consul."},
		{domain.Warning, domain.Passing, "NOERROR: 1 100 8080 b.web.node.consul., 1 200 8080 a.web.node.consul."},
		{domain.Passing, domain.Warning, "NOERROR: 1 100 8080 b.web.node.consul., 1 200 8080 a.web.node.consul."},
		{domain.Critical, domain.Passing, "NOERROR: 1 100 8080 b.web.node.consul."},
		{domain.Critical, domain.Warning, "NOERROR: 1 100 8080 b.web.node.consul."},
		{domain.Passing, domain.Critical, "NOERROR: 1 100 8080 b.web.node.consul."},
	} {
		r := &registry{}
		r.add("default/web/a", "10.0.0.1", func(i *wire.Instance) {
			i.Status, i.Weight = c.instance, 300
			i.Origin = `{"consul":{"node":"N1","node_address":"10.0.0.1","weights":{"Passing":3,"Warning":2}}}`
		})
		r.add("default/web/b", "10.0.0.2", at("n2", "10.0.0.2"))
		r.add("default/consul-node/n1", "10.0.0.1", stands("n1", `null`, c.node))
		r.add("shop/consul-node/n2", "10.0.0.2", stands("n2", `null`, domain.Critical)) // of another namespace
		s := serve(t, r, dns.Options{})
		if got := said(s.ask("udp", "web.service.consul.", lib.TypeSRV)); got != c.want {
			t.Errorf("node %s, instance %s: %s, want %s", c.node, c.instance, got, c.want)
		}
	}
}

func TestANodesCheckAppliesAtOnceWhereGroupsAreKept(t *testing.T) {
	r := &registry{}
	r.add("default/web/a", "10.0.0.1")
	kept := &keeping{Registry: r, groups: map[string]dns.Group{}}
	server, err := dns.New(kept, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		t.Helper()
		w, reply := &writer{}, new(lib.Msg)
		server.ServeDNS(w, new(lib.Msg).SetQuestion("web.service.consul.", lib.TypeA))
		if err := reply.Unpack(w.sent); err != nil {
			t.Fatal(err)
		}
		if got := said(reply); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	says("NOERROR: 10.0.0.1")
	r.add("default/consul-node/ip-10-0-0-1", "10.0.0.1", stands("ip-10-0-0-1", `null`, domain.Critical))
	says("NXDOMAIN SOA")
	r.instances[1].Status = domain.Passing
	says("NOERROR: 10.0.0.1")
	r.instances = r.instances[:1]
	says("NOERROR: 10.0.0.1")
}
