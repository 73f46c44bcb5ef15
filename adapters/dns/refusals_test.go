package dns_test

import (
	"net"
	"slices"
	"testing"
	"time"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
)

// elsewhere is a connection whose clients seem to be in a network that is not loopback.
type elsewhere struct{ net.PacketConn }

func (c elsewhere) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if from, ok := from.(*net.UDPAddr); ok {
		return n, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: from.Port}, err
	}
	return n, from, err
}

func (c elsewhere) WriteTo(b []byte, to net.Addr) (int, error) {
	return c.PacketConn.WriteTo(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to.(*net.UDPAddr).Port})
}

// limitedOnes has a value for each reply that was left out or cut.
type limitedOnes chan struct{}

func (l limitedOnes) Limited()                                    { l <- struct{}{} }
func (limitedOnes) LeftOut()                                      {}
func (limitedOnes) Answered(_, _ string, _ time.Duration, _ bool) {}

// Packets that are no questions get no more replies than questions do: their sources, too, can be false.
func TestRepliesToPacketsThatAreNoQuestionsAreLimited(t *testing.T) {
	question, err := new(lib.Msg).SetQuestion("web.service.consul.", lib.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, value byte) []byte {
		packet := slices.Clone(question)
		packet[at] = value
		return packet
	}
	for name, packet := range map[string][]byte{
		"no question":     changed(5, 0)[:12],
		"two questions":   changed(5, 2),
		"an update":       changed(2, lib.OpcodeUpdate<<3),
		"half a question": question[:20],
		"a label too far": changed(12, 63),
	} {
		t.Run(name, func(t *testing.T) {
			const limit, above = 10, 20
			limited := make(limitedOnes, limit+above)
			now := time.Unix(1e9, 0)
			options := dns.Options{RateLimit: limit, Observer: limited, Now: func() time.Time { return now }}
			s := serveThrough(t, fleet(), options, func(packets net.PacketConn) net.PacketConn { return elsewhere{packets} })
			client, err := net.Dial("udp4", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for range limit + above {
				if _, err := client.Write(packet); err != nil {
					t.Fatal(err)
				}
			}
			for range above {
				select {
				case <-limited:
				case <-time.After(10 * time.Second):
					t.Fatal("the replies are not limited")
				}
			}
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			for range limit {
				reply := new(lib.Msg)
				buffer := make([]byte, 512)
				n, err := client.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				if err := reply.Unpack(buffer[:n]); err != nil || reply.Rcode != lib.RcodeFormatError && reply.Rcode != lib.RcodeNotImplemented {
					t.Errorf("the reply is %v, %v", reply, err)
				}
			}
		})
	}
}
