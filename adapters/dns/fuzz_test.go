package dns_test

import (
	"net"
	"testing"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
)

// FuzzPackets answers any packet that the library can read. Every reply can be sent, fits, and is to the question.
func FuzzPackets(f *testing.F) {
	server, err := dns.New(fleet(), dns.Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"web.service.consul.", "_web._tcp.service.consul.", "a1.web.node.consul.", "0a000005.addr.consul.", "1.0.0.10.in-addr.arpa.", "consul.", ".", `a\.b.service.consul.`} {
		for _, kind := range []uint16{lib.TypeA, lib.TypeSRV, lib.TypePTR, lib.TypeANY} {
			packed, err := new(lib.Msg).SetQuestion(name, kind).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		question := new(lib.Msg)
		if question.Unpack(packet) != nil {
			return
		}
		w := &writer{}
		server.ServeDNS(w, question)
		reply := new(lib.Msg)
		if err := reply.Unpack(w.sent); err != nil {
			t.Fatalf("%v: the reply cannot be read: %v", question, err)
		}
		if reply.Id != question.Id || !reply.Response {
			t.Errorf("the reply is %v", reply)
		}
		if opt := question.IsEdns0(); len(w.sent) > 512 && (opt == nil || len(w.sent) > max(512, int(opt.UDPSize()))) {
			t.Errorf("the reply has %d bytes", len(w.sent))
		}
	})
}

// writer keeps the reply.
type writer struct {
	lib.ResponseWriter
	sent []byte
}

func (w *writer) LocalAddr() net.Addr  { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }
func (w *writer) RemoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (w *writer) Write(b []byte) (int, error) {
	w.sent = append([]byte(nil), b...)
	return len(b), nil
}
