package dns_test

import (
	"net"
	"testing"
	"time"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
)

// everywhere is a connection that seems to listen on all addresses.
type everywhere struct{ net.PacketConn }

func (c everywhere) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv6unspecified, Port: c.PacketConn.LocalAddr().(*net.UDPAddr).Port}
}

// A server that listens on all addresses names one that the client reaches.
func TestTheNameServerHasAnAddressThatTheClientReaches(t *testing.T) {
	s := serveThrough(t, fleet(), dns.Options{}, func(packets net.PacketConn) net.PacketConn { return everywhere{packets} })
	if got := said(s.ask("udp", "ns.consul.", lib.TypeA)); got != "NOERROR: 127.0.0.1" {
		t.Errorf("the name server's address is %s", got)
	}
	if got := said(s.ask("udp", "ns.consul.", lib.TypeAAAA)); got != "NOERROR SOA" {
		t.Errorf("the name server's IPv6 address is %s", got)
	}
	reply := s.ask("udp", "consul.", lib.TypeNS)
	if len(reply.Extra) != 1 || reply.Extra[0].(*lib.A).A.String() != "127.0.0.1" {
		t.Errorf("the name server comes with %v", reply.Extra)
	}
}

// A client over TCP may send any number of questions before it reads, and gets all replies.
func TestAllQuestionsOfAConnectionAreAnswered(t *testing.T) {
	s := serve(t, fleet(), dns.Options{})
	conn, err := lib.DialTimeout("tcp", s.address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const questions = 400
	for i := range questions {
		q := new(lib.Msg).SetQuestion("web.service.consul.", lib.TypeA)
		q.Id = uint16(i)
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	for i := range questions {
		reply, err := conn.ReadMsg()
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		if reply.Id != uint16(i) || len(reply.Answer) == 0 {
			t.Fatalf("reply %d is %v", i, reply)
		}
	}
}
