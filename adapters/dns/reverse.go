package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// reverse finds instances by their addresses. It looks at all instances, so its list is made at most once in
// reverseAge, and not more than a small part of the time is spent on it.
type reverse struct {
	mu    sync.Mutex
	names map[netip.Addr][]string // node names in the first zone
	next  time.Time               // when the list is made again
}

// Limits of the reverse list.
const (
	reverseAge  = 5 * time.Second
	reverseCost = 20 // the list is not made again before this many times as long as it took to make
	reverseMost = 20 // names of one address; many instances on one machine would make replies large
)

func (r *reverse) find(s *Server, address netip.Addr) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.options.Now()
	if r.names == nil || !now.Before(r.next) {
		r.names = map[netip.Addr][]string{}
		for i := range s.registry.All {
			e := endpointOf(&i)
			name := nodeNameOf(e, i.Namespace, s.zones[0])
			if e.address.IsValid() && isName(name) && len(r.names[e.address]) < reverseMost {
				r.names[e.address] = append(r.names[e.address], name)
			}
		}
		end := s.options.Now()
		r.next = end.Add(max(reverseAge, reverseCost*end.Sub(now)))
	}
	return r.names[address]
}

// pointer answers which instances have an address. Other addresses are not ours to speak of.
func (s *Server) pointer(reply *dns.Msg, q dns.Question, address netip.Addr) {
	if err := s.registry.Ready(); err != nil {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	names := s.reverse.find(s, address)
	if len(names) == 0 {
		reply.Rcode = dns.RcodeRefused
		return
	}
	reply.Authoritative = true
	for _, name := range names {
		reply.Answer = append(reply.Answer, &dns.PTR{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: s.ttl}, Ptr: name})
	}
}

// addressOfArpa is the address of a name in lower case in in-addr.arpa or ip6.arpa.
func addressOfArpa(name string) (netip.Addr, bool) {
	if before, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		l := strings.Split(before, ".")
		if len(l) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(l[3] + "." + l[2] + "." + l[1] + "." + l[0])
		return a, err == nil
	}
	before, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok || len(before) != 63 {
		return netip.Addr{}, false
	}
	digits := make([]byte, 0, 32)
	for i := len(before) - 1; i >= 0; i -= 2 {
		digits = append(digits, before[i])
		if i > 0 && before[i-1] != '.' {
			return netip.Addr{}, false
		}
	}
	b, err := hex.DecodeString(string(digits))
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)).Unmap(), true
}
