package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// pointer answers which instances have an address. Other addresses are not ours to speak of.
func (s *Server) pointer(reply *dns.Msg, q dns.Question, address netip.Addr) {
	if err := s.registry.Ready(); err != nil {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	names := s.list.current(s).pointers[address]
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
