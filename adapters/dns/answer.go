package dns

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// answer makes the reply to a question of a client. here is the address of the server's listener.
func (s *Server) answer(question *dns.Msg, from, here netip.Addr) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(question)
	if opt := question.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, false)
		if opt.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			return reply
		}
		echoSubnet(reply, opt)
	}
	switch {
	case severalOPT(question):
		reply.Rcode = dns.RcodeFormatError
		return reply
	case question.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case len(question.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	q := question.Question[0]
	switch {
	case q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY:
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	name := strings.ToLower(q.Name)
	if q.Qtype == dns.TypePTR {
		if address, ok := addressOfArpa(name); ok {
			s.pointer(reply, q, address)
			return reply
		}
	}
	zone, before, ok := s.zoneOf(name)
	if !ok {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	if err := s.registry.Ready(); err != nil {
		reply.Rcode = dns.RcodeServerFailure
		return reply
	}
	reply.Authoritative = true
	a := answering{s: s, reply: reply, q: q, zone: zone, from: from, here: here}
	if !a.find(s.parse(before)) {
		reply.Rcode = dns.RcodeNameError
	}
	if len(reply.Answer) == 0 {
		reply.Ns = append(reply.Ns, a.soa(strings.TrimPrefix(zone, ".")))
	}
	return reply
}

// severalOPT says whether a question has more than the one OPT record that it may have (RFC 6891).
func severalOPT(question *dns.Msg) bool {
	n := 0
	for _, rr := range question.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n > 1
}

// echoSubnet says of the client's network that a resolver sends along that the answer is good for every network (RFC 7871).
func echoSubnet(reply *dns.Msg, opt *dns.OPT) {
	for _, option := range opt.Option {
		if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
			echoed := *subnet
			echoed.SourceScope = 0
			reply.IsEdns0().Option = append(reply.IsEdns0().Option, &echoed)
			return
		}
	}
}

// zoneOf is the zone of a name in lower case, with a dot before it, and the name without the zone.
func (s *Server) zoneOf(name string) (zone, before string, ok bool) {
	for _, zone := range s.zones {
		if name == zone[1:] {
			return zone, "", true
		}
		if before, ok := strings.CutSuffix(name, zone); ok && !endsEscaping(before) {
			return zone, before, true
		}
	}
	return "", "", false
}

// endsEscaping says whether the dot behind a text is escaped, and so part of a label: x\.rollcall is one label.
func endsEscaping(text string) bool {
	return (len(text)-len(strings.TrimRight(text, `\`)))%2 == 1
}

// answering is a reply in the making.
type answering struct {
	s     *Server
	reply *dns.Msg
	q     dns.Question
	zone  string // with a dot before it
	from  netip.Addr
	here  netip.Addr // unspecified: the server listens on all addresses
}

// find answers by the first meaning that exists, and says whether one does.
func (a *answering) find(meanings []asked) bool {
	for _, m := range meanings {
		switch m.what {
		case apex:
			a.soaAndServers()
			return true
		case nameServer:
			a.add(a.q.Name, a.own())
			return true
		case inner:
			if m.namespace == "default" || a.s.registry.HasNamespace(m.namespace) {
				return true
			}
		case addrName:
			a.add(a.q.Name, m.address)
			return true
		case nodeName:
			if a.node(m) {
				return true
			}
		case serviceName:
			if a.service(m) {
				return true
			}
		}
	}
	return slices.ContainsFunc(meanings, a.isAbove)
}

// isAbove says whether a name has others below it. A service that is there without a ready instance has none to speak of.
func (a *answering) isAbove(m asked) bool {
	name := namespacedName{m.namespace, strings.Join(m.labels, ".")}
	switch m.what {
	case serviceName:
		_, live := a.s.registry.Find(m.namespace, name.name)
		return !live && m.port == "" && a.s.list.current(a.s).ofServices[name]
	case nodeName:
		return a.s.list.current(a.s).ofNodes[name]
	}
	return false
}

func (a *answering) header(name string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: a.s.ttl}
}

// wants says whether records of a type are asked for.
func (a *answering) wants(t uint16) bool { return a.q.Qtype == t || a.q.Qtype == dns.TypeANY }

// add answers with an address, if records of its type are asked for.
func (a *answering) add(name string, address netip.Addr) {
	if rr := a.record(name, address, address.AsSlice()); rr != nil && a.wants(rr.Header().Rrtype) {
		a.reply.Answer = append(a.reply.Answer, rr)
	}
}

// record is the A or AAAA record of an address, whose bytes are given; nil: the address is not valid.
func (a *answering) record(name string, address netip.Addr, bytes []byte) dns.RR {
	switch {
	case address.Is4():
		return &dns.A{Hdr: a.header(name, dns.TypeA), A: bytes}
	case address.Is6():
		return &dns.AAAA{Hdr: a.header(name, dns.TypeAAAA), AAAA: bytes}
	}
	return nil
}

// service answers about a service, whose instances that are ready come in random order. found is false if no instance
// is ready, so that resolvers take the service for gone, and do not keep what they had.
func (a *answering) service(m asked) (found bool) {
	for i := range m.labels { // the longest name that exists is the service, and what stands before it a tag
		group, ok := a.s.registry.Find(m.namespace, strings.Join(m.labels[i:], "."))
		if !ok {
			continue
		}
		svc := a.s.serviceOf(m.namespace, group)
		tag := strings.Join(m.labels[:i], ".")
		if rest, below := strings.CutPrefix(tag, tcp); below && (rest == "" || rest[0] == '.') && len(svc.withTag(strings.TrimPrefix(rest, "."))) > 0 && len(svc.withTag(tag)) == 0 {
			return true // _<port>._tcp.<service> and _<port>._tcp.<tag>.<service> are below it
		}
		if ready := withPort(svc.withTag(tag), m.port); len(ready) > 0 {
			a.instances(ready, m)
			return true
		}
	}
	return false
}

func (a *answering) instances(ready []*endpoint, m asked) {
	start := len(a.reply.Answer)
	if a.wants(dns.TypeSRV) {
		a.servers(ready, m)
	}
	if a.wants(dns.TypeA) || a.wants(dns.TypeAAAA) {
		a.addresses(ready)
	}
	added := a.reply.Answer[start:]
	rand.Shuffle(len(added), func(i, j int) { added[i], added[j] = added[j], added[i] })
}

// addresses answers with the addresses of instances, each once. A service that has host names for addresses only is an
// alias of one of them.
func (a *answering) addresses(ready []*endpoint) {
	distinct := make([]*endpoint, 0, len(ready))
	var hosts []string
	var seen map[netip.Addr]bool // of many; few are compared with each other
	if len(ready) > 32 {
		seen = make(map[netip.Addr]bool, len(ready))
	}
	for _, e := range ready {
		switch {
		case !e.address.IsValid():
			hosts = append(hosts, e.host)
		case seen == nil && !slices.ContainsFunc(distinct, func(d *endpoint) bool { return d.address == e.address }):
			distinct = append(distinct, e)
		case seen != nil && !seen[e.address]:
			seen[e.address] = true
			distinct = append(distinct, e)
		}
	}
	if len(distinct) == 0 && len(hosts) > 0 && len(a.reply.Answer) == 0 { // nothing stands beside an alias (RFC 2181), as SRV records would for ANY
		a.reply.Answer = append(a.reply.Answer, &dns.CNAME{Hdr: a.header(a.q.Name, dns.TypeCNAME), Target: hosts[rand.IntN(len(hosts))]})
	}
	a.reply.Answer = slices.Grow(a.reply.Answer, len(distinct))
	a.records(distinct)
}

// records answers with the address records of instances, of the types that are asked for, which share one piece of memory for
// each type.
func (a *answering) records(of []*endpoint) {
	var v4 []dns.A
	var v6 []dns.AAAA
	if a.wants(dns.TypeA) {
		v4 = make([]dns.A, 0, len(of))
	}
	if a.wants(dns.TypeAAAA) {
		v6 = make([]dns.AAAA, 0, len(of))
	}
	for _, e := range of { // INVARIANT: neither slice grows, for the answer points into it
		switch {
		case v4 != nil && e.address.Is4():
			v4 = append(v4, dns.A{Hdr: a.header(a.q.Name, dns.TypeA), A: e.bytes})
			a.reply.Answer = append(a.reply.Answer, &v4[len(v4)-1])
		case v6 != nil && e.address.Is6():
			v6 = append(v6, dns.AAAA{Hdr: a.header(a.q.Name, dns.TypeAAAA), AAAA: e.bytes})
			a.reply.Answer = append(a.reply.Answer, &v6[len(v6)-1])
		}
	}
}

// servers answers with an SRV record for each instance that has the port, and with the address of each target. Every
// instance with an address has a target name of its own: clients take records with one target for one server.
func (a *answering) servers(ready []*endpoint, m asked) {
	servers := make([]dns.SRV, 0, len(ready)) // INVARIANT: it does not grow, for the answer points into it
	a.reply.Answer, a.reply.Extra = slices.Grow(a.reply.Answer, len(ready)), slices.Grow(a.reply.Extra, len(ready))
	for _, e := range ready {
		port := e.port
		if m.port != "" {
			port = e.ports[m.port]
		}
		if port == 0 {
			continue
		}
		target := e.host
		if e.address.IsValid() {
			target = e.targets[a.zone]
			a.reply.Extra = append(a.reply.Extra, a.record(target, e.address, e.bytes))
		}
		servers = append(servers, dns.SRV{Hdr: a.header(a.q.Name, dns.TypeSRV), Priority: 1, Weight: max(e.weight, 1), Port: port, Target: target})
		a.reply.Answer = append(a.reply.Answer, &servers[len(servers)-1])
	}
}

// target is the name of an instance in SRV records of a zone that has a dot before it.
func (e *endpoint) target(namespace, zone string) string {
	name := nodeNameOf(e, namespace, zone)
	if !isName(name) { // too long
		return hex.EncodeToString(e.address.AsSlice()) + ".addr" + zone
	}
	return name
}

// nodeNameOf is the name of an instance in a zone that has a dot before it.
func nodeNameOf(e *endpoint, namespace, zone string) string {
	return below(e.label+"."+e.service+".node", namespace, zone)
}

// below is a name of a namespace in a zone.
func below(name, namespace, zone string) string {
	if namespace != "default" {
		name += "." + namespace
	}
	return name + zone
}

// node answers about one instance, ready or not, or about a node.
func (a *answering) node(m asked) (found bool) {
	if len(m.labels) > 1 {
		if group, ok := a.s.registry.Find(m.namespace, strings.Join(m.labels[1:], ".")); ok {
			if e := a.s.serviceOf(m.namespace, group).nodes[m.labels[0]]; e != nil {
				a.one(e.address, e.host, e.texts)
				return true
			}
		}
	}
	name := strings.Join(m.labels, ".")
	if n := a.s.findNode(m.namespace, name); n != nil {
		a.one(n.address, n.host, n.texts)
		return true
	}
	_, ok := a.s.registry.Find(m.namespace, name) // the name of a service has its instances below it
	return ok && name != wire.NodeService
}

// escapeText writes a text as the library expects it: a backslash begins an escape there.
func escapeText(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// soa is the record that says who answers for the zone, and for how long nobody needs to ask again for what is not there.
func (a *answering) soa(name string) *dns.SOA {
	zone := a.zone[1:]
	return &dns.SOA{
		Hdr: a.header(name, dns.TypeSOA), Ns: "ns." + zone, Mbox: "hostmaster." + zone, Serial: uint32(a.s.options.Now().Unix()),
		Refresh: 3600, Retry: 600, Expire: 86400, Minttl: a.s.ttl,
	}
}

// own is the server's address, which its name server has: one that the client reaches.
func (a *answering) own() netip.Addr {
	if a.here.IsUnspecified() {
		return addressToward(a.from)
	}
	return a.here
}

func (a *answering) soaAndServers() {
	if a.wants(dns.TypeSOA) {
		a.reply.Answer = append(a.reply.Answer, a.soa(a.q.Name))
	}
	if a.wants(dns.TypeNS) {
		server := "ns." + a.zone[1:]
		a.reply.Answer = append(a.reply.Answer, &dns.NS{Hdr: a.header(a.q.Name, dns.TypeNS), Ns: server})
		own := a.own()
		if glue := a.record(server, own, own.AsSlice()); glue != nil {
			a.reply.Extra = append(a.reply.Extra, glue)
		}
	}
}
