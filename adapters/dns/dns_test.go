package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// registry is a catalog of a test.
type registry struct {
	instances []wire.Instance
	ready     error
}

type group struct {
	instances []wire.Instance
	once      sync.Once
	value     any
}

func (g *group) Instances() []wire.Instance { return g.instances }

func (g *group) Value(_ string, make func() any) any {
	g.once.Do(func() { g.value = make() })
	return g.value
}

func (r *registry) Find(namespace, name string) (dns.Group, bool) {
	g := &group{}
	for _, i := range r.instances {
		if i.Namespace == namespace && strings.ToLower(i.Service) == name {
			g.instances = append(g.instances, i)
		}
	}
	return g, len(g.instances) > 0
}

func (r *registry) HasNamespace(namespace string) bool {
	return slices.ContainsFunc(r.instances, func(i wire.Instance) bool { return i.Namespace == namespace })
}

func (r *registry) Nodes(namespace string) (dns.Group, bool) {
	return r.Find(namespace, wire.NodeService)
}

func (r *registry) All(yield func(wire.Instance) bool) { slices.Values(r.instances)(yield) }

func (r *registry) Rights() uint64 { return 0 }

func (r *registry) Ready() error { return r.ready }

// add adds a passing instance with the port http 8080.
func (r *registry) add(key, address string, change ...func(*wire.Instance)) {
	parts := strings.SplitN(key, "/", 3)
	i := wire.Instance{Namespace: parts[0], Service: parts[1], ID: parts[2], Traffic: domain.Serving}
	i.Address, i.Ports, i.Weight, i.Status = address, map[string]uint16{"http": 8080}, domain.DefaultWeight, domain.Passing
	for _, f := range change {
		f(&i)
	}
	r.instances = append(r.instances, i)
}

// serving is a server on a free port, and a client of it.
type serving struct {
	t       testing.TB
	address string
}

func serve(t testing.TB, r dns.Registry, options dns.Options) *serving {
	t.Helper()
	return serveThrough(t, r, options, func(packets net.PacketConn) net.PacketConn { return packets })
}

// serveThrough is serve of packets that come through another connection.
func serveThrough(t testing.TB, r dns.Registry, options dns.Options, through func(net.PacketConn) net.PacketConn) *serving {
	t.Helper()
	server, err := dns.New(r, options)
	if err != nil {
		t.Fatal(err)
	}
	packets, streams, err := dns.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, through(packets), streams) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &serving{t, packets.LocalAddr().String()}
}

func (s *serving) ask(network, name string, kind uint16, change ...func(*lib.Msg)) *lib.Msg {
	s.t.Helper()
	q := new(lib.Msg).SetQuestion(name, kind)
	for _, f := range change {
		f(q)
	}
	client := lib.Client{Net: network, Timeout: 5 * time.Second, UDPSize: lib.MaxMsgSize}
	reply, _, err := client.Exchange(q, s.address)
	if err != nil {
		s.t.Fatalf("%s %s: %v", name, lib.TypeToString[kind], err)
	}
	return reply
}

// said is a reply's code and answers, sorted, without owners and ttls.
func said(m *lib.Msg) string {
	var answers []string
	for _, rr := range m.Answer {
		answers = append(answers, strings.Join(strings.Fields(strings.TrimPrefix(rr.String(), rr.Header().String())), " "))
	}
	slices.Sort(answers)
	text := lib.RcodeToString[m.Rcode]
	if len(answers) > 0 {
		text += ": " + strings.Join(answers, ", ")
	} else if len(m.Ns) == 1 && m.Ns[0].Header().Rrtype == lib.TypeSOA {
		text += " SOA"
	}
	return text
}

func fleet() *registry {
	r := &registry{}
	r.add("default/web/a1", "10.0.0.1", func(i *wire.Instance) {
		i.Tags, i.Ports = []string{"v1", "blue.green"}, map[string]uint16{"http": 8080, "admin": 81}
		i.Metadata = map[string]string{"team": "core", "a=b": `x\y`}
	})
	r.add("default/web/a2", "10.0.0.2", func(i *wire.Instance) { i.Weight, i.Tags = 10, []string{"V1"} })
	r.add("default/web/warned", "10.0.0.2", func(i *wire.Instance) { i.Status, i.Ports = domain.Warning, map[string]uint16{"grpc": 90} })
	r.add("default/web/sick", "10.0.0.3", func(i *wire.Instance) { i.Status = domain.Critical })
	r.add("default/web/new", "10.0.0.4", func(i *wire.Instance) { i.Status = domain.Starting })
	r.add("default/web/drained", "10.0.0.5", func(i *wire.Instance) { i.Traffic = domain.Draining })
	r.add("default/web/weightless", "10.0.0.6", func(i *wire.Instance) { i.Weight = 0 })
	r.add("default/Six/Odd:id", "2001:db8::1")
	r.add("default/go.micro.srv/x", "10.0.1.1")
	r.add("default/user_service/x", "10.0.1.2")
	r.add("default/named/x", "db.example")
	r.add("default/portless/x", "10.0.1.3", func(i *wire.Instance) { i.Ports = nil })
	r.add("default/gone/x", "10.0.1.4", func(i *wire.Instance) { i.Status = domain.Critical })
	r.add("shop/web/s1", "10.1.0.1")
	r.add("service/node/y", "10.2.0.1")
	return r
}

func TestNamesAreAnsweredAsConsulAnswersThem(t *testing.T) {
	s := serve(t, fleet(), dns.Options{})
	const both = "NOERROR: 10.0.0.1, 10.0.0.2"
	for question, want := range map[string]string{
		"web.service.consul. A":                       both,
		"web.service.rollcall. A":                     both,
		"wEb.SeRvIcE.cOnSuL. A":                       both,
		"web.service.dc1.consul. A":                   both,
		"web.service.DC1.dc.consul. A":                both,
		"web.service.default.consul. A":               both,
		"web.service.default.ns.consul. A":            both,
		"web.service.default.ns.default.ap.consul. A": both,
		"web.service.default.dc1.consul. A":           both,
		"web.service.dc2.consul. A":                   "NXDOMAIN SOA",
		"web.service.dc1.dc2.consul. A":               "NXDOMAIN SOA",
		"web.service.shop.consul. A":                  "NOERROR: 10.1.0.1",
		"web.service.shop.ns.dc1.dc.rollcall. A":      "NOERROR: 10.1.0.1",
		"web.service.default.ns.other.ap.consul. A":   "NXDOMAIN SOA",
		"web.service.consul. AAAA":                    "NOERROR SOA",
		"web.service.consul. TXT":                     "NOERROR SOA",
		"web.service.consul. MX":                      "NOERROR SOA",
		"web.service.consul. NS":                      "NOERROR SOA",
		"six.service.consul. AAAA":                    "NOERROR: 2001:db8::1",
		"six.service.consul. A":                       "NOERROR SOA",
		"v1.web.service.consul. A":                    both,
		"blue.green.web.service.consul. A":            "NOERROR: 10.0.0.1",
		"v2.web.service.consul. A":                    "NXDOMAIN SOA",
		"go.micro.srv.service.consul. A":              "NOERROR: 10.0.1.1",
		"micro.srv.service.consul. A":                 "NOERROR SOA",
		"srv.service.consul. NS":                      "NOERROR SOA",
		"srv.service.shop.consul. NS":                 "NXDOMAIN SOA",
		"srv.node.consul. NS":                         "NOERROR SOA",
		"green.web.service.consul. NS":                "NOERROR SOA",
		"green.six.service.consul. NS":                "NXDOMAIN SOA",
		"user_service.service.consul. A":              "NOERROR: 10.0.1.2",
		"named.service.consul. A":                     "NOERROR: db.example.",
		"named.service.consul. SRV":                   "NOERROR: 1 100 8080 db.example.",
		"gone.service.consul. A":                      "NXDOMAIN SOA",
		"gone.service.consul. SRV":                    "NXDOMAIN SOA",
		"nobody.service.consul. A":                    "NXDOMAIN SOA",
		"portless.service.consul. SRV":                "NOERROR SOA",
		"node.service.service.consul. A":              "NOERROR: 10.2.0.1",
		"web.consul. A":                               "NXDOMAIN SOA",
		"a.b.c.consul. A":                             "NXDOMAIN SOA",
		`a\.b.service.consul. A`:                      "NXDOMAIN SOA",
		`web.service\.consul. A`:                      "REFUSED",
		`x\.rollcall. A`:                              "REFUSED",
		`x\\\.rollcall. A`:                            "REFUSED",
		`x\\.rollcall. A`:                             "NXDOMAIN SOA",

		"web.service.consul. SRV":               "NOERROR: 1 10 8080 a2.web.node.consul., 1 100 8080 a1.web.node.consul., 1 100 90 warned.web.node.consul.",
		"_web._tcp.service.consul. SRV":         "NOERROR: 1 10 8080 a2.web.node.consul., 1 100 8080 a1.web.node.consul., 1 100 90 warned.web.node.consul.",
		"_web._tcp.consul. AAAA":                "NOERROR SOA", // NXDOMAIN would hold for SRV, too
		"_web._tcp.consul. TXT":                 "NOERROR SOA",
		"_nothing._tcp.consul. AAAA":            "NXDOMAIN SOA",
		"_web._tcp.consul. SRV":                 "NOERROR: 1 10 8080 a2.web.node.consul., 1 100 8080 a1.web.node.consul., 1 100 90 warned.web.node.consul.",
		"_web._v1.service.consul. SRV":          "NOERROR: 1 10 8080 a2.web.node.consul., 1 100 8080 a1.web.node.consul.",
		"_web._udp.service.consul. SRV":         "NXDOMAIN SOA",
		"_admin._tcp.web.service.consul. SRV":   "NOERROR: 1 100 81 a1.web.node.consul.",
		"_nothing._tcp.web.service.consul. SRV": "NXDOMAIN SOA", // HAProxy empties its servers only then
		"_nothing._tcp.web.service.consul. A":   "NXDOMAIN SOA",
		"_admin._tcp.web.service.consul. A":     "NOERROR: 10.0.0.1",
		"_admin._tcp.v1.web.service.consul. A":  "NOERROR: 10.0.0.1",
		"_grpc._tcp.v1.web.service.consul. SRV": "NXDOMAIN SOA",
		"named.service.consul. ANY":             "NOERROR: 1 100 8080 db.example.", // nothing stands beside an alias
		"_tcp.web.service.consul. NS":           "NOERROR SOA",
		"_tcp.v1.web.service.consul. A":         "NOERROR SOA",
		"_tcp.service.consul. A":                "NOERROR SOA",
		"_tcp.consul. A":                        "NOERROR SOA",
		"_tcp.service.nowhere.consul. A":        "NXDOMAIN SOA",
		"_tcp.nothing.web.service.consul. A":    "NXDOMAIN SOA",
		"_tcp.nothing.service.consul. A":        "NXDOMAIN SOA",
		"_bogus.web.service.consul. A":          "NXDOMAIN SOA",
		"_http._bogus.web.service.consul. SRV":  "NXDOMAIN SOA", // a tag that nobody has, as in Consul
		"_http._udp.web.service.consul. SRV":    "NXDOMAIN SOA",
		"_http._bogus.web.service.consul. A":    "NXDOMAIN SOA",
		"_HTTP._TCP.WEB.service.consul. SRV":    "NOERROR: 1 10 8080 a2.web.node.consul., 1 100 8080 a1.web.node.consul.",
		"_._tcp.web.service.consul. SRV":        "NXDOMAIN SOA",
		"_http._.web.service.consul. SRV":       "NXDOMAIN SOA",
		"_web._.service.consul. SRV":            "NXDOMAIN SOA",
		"_._tcp.service.consul. SRV":            "NXDOMAIN SOA",
		"_web._udp.consul. SRV":                 "NXDOMAIN SOA",
		"_web._tcp.service.shop.consul. SRV":    "NOERROR: 1 100 8080 s1.web.node.shop.consul.",
		"six.service.rollcall. SRV":             "NOERROR: 1 100 8080 id--7c62038c8a9533c3281f9095.six.node.rollcall.",

		"a1.web.node.consul. A":         "NOERROR: 10.0.0.1",
		"A1.Web.Node.Consul. A":         "NOERROR: 10.0.0.1",
		"sick.web.node.consul. A":       "NOERROR: 10.0.0.3",
		"s1.web.node.shop.consul. A":    "NOERROR: 10.1.0.1",
		"x.go.micro.srv.node.consul. A": "NOERROR: 10.0.1.1",
		"x.named.node.consul. A":        "NOERROR: db.example.",
		"a1.web.node.consul. TXT":       "NOERROR: \"a`=b=x\\\\y\", \"team=core\"",
		"a1.web.node.consul. SRV":       "NOERROR SOA",
		"a9.web.node.consul. A":         "NXDOMAIN SOA",
		"web.node.consul. A":            "NOERROR SOA",
		"other.node.consul. A":          "NXDOMAIN SOA",

		"0a000005.addr.consul. A":                            "NOERROR: 10.0.0.5",
		"0A000005.addr.dc1.consul. A":                        "NOERROR: 10.0.0.5",
		"0a000005.addr.consul. AAAA":                         "NOERROR SOA",
		"20010db8000000000000000000000001.addr.consul. AAAA": "NOERROR: 2001:db8::1",
		"0a00000.addr.consul. A":                             "NXDOMAIN SOA",
		"0a00000g.addr.consul. A":                            "NXDOMAIN SOA",
		"x.0a000005.addr.consul. A":                          "NXDOMAIN SOA",

		"service.consul. A":          "NOERROR SOA",
		"node.consul. NS":            "NOERROR SOA",
		"addr.consul. A":             "NOERROR SOA",
		"dc1.consul. A":              "NOERROR SOA",
		"shop.consul. A":             "NOERROR SOA",
		"nowhere.consul. A":          "NXDOMAIN SOA",
		"consul. A":                  "NOERROR SOA",
		"consul. NS":                 "NOERROR: ns.consul.",
		"ns.consul. A":               "NOERROR: 127.0.0.1",
		"1.0.0.10.in-addr.arpa. PTR": "NOERROR: a1.web.node.consul.",
		"2.0.0.10.in-addr.arpa. PTR": "NOERROR: a2.web.node.consul., warned.web.node.consul.",
		"1.1.0.10.in-addr.arpa. PTR": "NOERROR: x.go.micro.srv.node.consul.",
		"9.9.9.10.in-addr.arpa. PTR": "REFUSED",
		"10.in-addr.arpa. PTR":       "REFUSED",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR": "NOERROR: id--7c62038c8a9533c3281f9095.six.node.consul.",
		"example.org. A":           "REFUSED",
		". NS":                     "REFUSED",
		"notconsul. A":             "REFUSED",
		"web.service.consul. AXFR": "NOTIMP",
	} {
		t.Run(question, func(t *testing.T) {
			name, kind, _ := strings.Cut(question, " ")
			reply := s.ask("tcp", name, lib.StringToType[kind])
			if got := said(reply); got != want {
				t.Errorf("answered\n%s, want\n%s", got, want)
			}
			for _, rr := range reply.Answer {
				if rr.Header().Name != name {
					t.Errorf("the owner is %s", rr.Header().Name)
				}
			}
			if reply.RecursionAvailable {
				t.Error("offers recursion")
			}
		})
	}
	if any := said(s.ask("tcp", "web.service.consul.", lib.TypeANY)); !strings.Contains(any, "10.0.0.1") || !strings.Contains(any, "a1.web.node.consul.") {
		t.Errorf("any: %s", any)
	}
	soa, ok := s.ask("udp", "consul.", lib.TypeSOA).Answer[0].(*lib.SOA)
	if !ok || soa.Ns != "ns.consul." || soa.Mbox != "hostmaster.consul." || soa.Minttl != 0 {
		t.Errorf("the SOA is %v", soa)
	}
}

func TestServersComeWithTheirAddresses(t *testing.T) {
	s := serve(t, fleet(), dns.Options{TTL: 3 * time.Second})
	reply := s.ask("udp", "web.service.consul.", lib.TypeSRV)
	var extra []string
	for _, rr := range reply.Extra {
		extra = append(extra, rr.String())
	}
	slices.Sort(extra)
	want := []string{"a1.web.node.consul.\t3\tIN\tA\t10.0.0.1", "a2.web.node.consul.\t3\tIN\tA\t10.0.0.2", "warned.web.node.consul.\t3\tIN\tA\t10.0.0.2"}
	if !slices.Equal(extra, want) || !reply.Authoritative {
		t.Errorf("additional are %q", extra)
	}
}

func TestAnswersComeInAnyOrder(t *testing.T) {
	s := serve(t, fleet(), dns.Options{})
	first := map[string]bool{}
	for range 100 {
		first[s.ask("udp", "web.service.consul.", lib.TypeA).Answer[0].String()] = true
	}
	if len(first) != 2 {
		t.Errorf("in 100 answers %v came first", first)
	}
}

func TestALargeReplyIsCutAndSaysSo(t *testing.T) {
	r := &registry{}
	for i := range 200 {
		r.add(fmt.Sprintf("default/web/i%d", i), fmt.Sprintf("10.0.%d.%d", i/100, i%100+1))
	}
	s := serve(t, r, dns.Options{})
	for _, c := range []struct {
		network   string
		kind      uint16
		size      uint16 // that the client takes; 0: no EDNS
		truncated bool
	}{
		{"udp", lib.TypeA, 0, true}, {"udp", lib.TypeSRV, 0, true}, {"udp", lib.TypeA, 1232, true}, {"udp", lib.TypeSRV, 4096, true},
		{"udp", lib.TypeA, 4096, false}, {"udp", lib.TypeSRV, 65535, false}, {"tcp", lib.TypeSRV, 0, false},
	} {
		reply := s.ask(c.network, "web.service.consul.", c.kind, func(m *lib.Msg) {
			if c.size > 0 {
				m.SetEdns0(c.size, true)
			}
		})
		reply.Compress = true
		most := max(int(c.size), 512)
		if c.network == "tcp" {
			most = 65535
		}
		if reply.Truncated != c.truncated || reply.Len() > most || len(reply.Answer) == 0 || !c.truncated && len(reply.Answer) != 200 {
			t.Errorf("%s %s %d: %d answers in %d bytes, cut: %v", c.network, lib.TypeToString[c.kind], c.size, len(reply.Answer), reply.Len(), reply.Truncated)
		}
		if opt := reply.IsEdns0(); (opt != nil) != (c.size > 0) {
			t.Errorf("%d: the reply has the option %v", c.size, opt)
		}
	}
	// Without the addresses of the targets everything fits, and nobody is sent to ask again.
	small := &registry{instances: r.instances[:9]}
	if reply := serve(t, small, dns.Options{}).ask("udp", "web.service.consul.", lib.TypeSRV); reply.Truncated || len(reply.Answer) != 9 {
		t.Errorf("nine servers: %d answers, cut: %v", len(reply.Answer), reply.Truncated)
	}
}

func TestAReplyIsNeverLargerThanADatagram(t *testing.T) {
	r := &registry{}
	for i := range 4200 {
		r.add(fmt.Sprintf("default/web/i%d", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	reply := serve(t, r, dns.Options{}).ask("udp", "web.service.consul.", lib.TypeA, func(m *lib.Msg) { m.SetEdns0(65535, false) })
	if !reply.Truncated || len(reply.Answer) < 4000 {
		t.Errorf("%d answers, cut: %v", len(reply.Answer), reply.Truncated)
	}
}

func TestARegistryThatIsNotReadyFails(t *testing.T) {
	r := fleet()
	r.ready = errors.New("the catalog is behind")
	s := serve(t, r, dns.Options{})
	for _, name := range []string{"web.service.consul.", "nobody.service.consul.", "consul."} {
		if got := said(s.ask("udp", name, lib.TypeA)); got != "SERVFAIL" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := said(s.ask("udp", "1.0.0.10.in-addr.arpa.", lib.TypePTR)); got != "SERVFAIL" {
		t.Error(got)
	}
}

func TestQuestionsThatAreNotUnderstoodAreRefused(t *testing.T) {
	s := serve(t, fleet(), dns.Options{})
	for want, change := range map[string]func(*lib.Msg){ // BADSIG and BADVERS are one number
		"BADSIG":  func(m *lib.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) },
		"NOTIMP":  func(m *lib.Msg) { m.Opcode = lib.OpcodeUpdate },
		"REFUSED": func(m *lib.Msg) { m.Question[0].Qclass = lib.ClassCHAOS },
		"FORMERR": func(m *lib.Msg) { m.SetEdns0(1232, false).SetEdns0(1232, false) },
	} {
		if got := lib.RcodeToString[s.ask("udp", "web.service.consul.", lib.TypeA, change).Rcode]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	reply := s.ask("udp", "web.service.consul.", lib.TypeA, func(m *lib.Msg) {
		m.SetEdns0(1232, true).IsEdns0().Option = []lib.EDNS0{
			&lib.EDNS0_COOKIE{Code: lib.EDNS0COOKIE, Cookie: "0011223344556677"}, &lib.EDNS0_SUBNET{Code: lib.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(10, 1, 2, 0)},
		}
	})
	if options := reply.IsEdns0().Option; len(options) != 1 || options[0].String() != "10.1.2.0/24/0" || reply.Rcode != lib.RcodeSuccess {
		t.Errorf("the options are %v of %v", options, reply)
	}
	c, err := net.Dial("udp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, garbage := range []string{"", "x", strings.Repeat("\xff", 600), "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"} {
		if _, err := c.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
	}
	if got := said(s.ask("udp", "web.service.consul.", lib.TypeAAAA)); got != "NOERROR SOA" {
		t.Errorf("after garbage: %s", got)
	}
}

func TestZonesAndOptionsAreChecked(t *testing.T) {
	for _, options := range []dns.Options{
		{Zones: []string{""}}, {Zones: []string{"."}}, {Zones: []string{"a..b"}}, {Zones: []string{strings.Repeat("a", 64)}}, {Zones: []string{`a\b`}},
		{TTL: -time.Second}, {TTL: 2 * time.Hour}, {TTL: time.Millisecond}, {RateLimit: -1},
	} {
		if _, err := dns.New(&registry{}, options); err == nil {
			t.Errorf("%+v is accepted", options)
		}
	}
	s := serve(t, fleet(), dns.Options{Zones: []string{"Reg.Example."}, Datacenter: "Paris"})
	for name, want := range map[string]string{"web.service.reg.example.": "NOERROR: 10.0.0.1, 10.0.0.2", "web.service.paris.reg.example.": "NOERROR: 10.0.0.1, 10.0.0.2", "web.service.consul.": "REFUSED"} {
		if got := said(s.ask("udp", name, lib.TypeA)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
