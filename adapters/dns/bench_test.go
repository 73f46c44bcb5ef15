package dns_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	lib "github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/dns"
)

// BenchmarkAnswers asks for a service of 20 instances over UDP, and, as the floor, a server that does nothing but send the
// same reply.
func BenchmarkAnswers(b *testing.B) {
	r := &registry{}
	for i := range 20 {
		r.add(fmt.Sprintf("default/web/i%d", i), fmt.Sprintf("10.0.0.%d", i+1))
	}
	kept := &keeping{Registry: r, groups: map[string]dns.Group{}}
	for _, kind := range []uint16{lib.TypeA, lib.TypeSRV} {
		s := serve(b, kept, dns.Options{})
		edns := func(m *lib.Msg) { m.SetEdns0(4096, false) }
		reply := s.ask("udp", "web.service.consul.", kind, edns)
		reply.Compress = true
		question := new(lib.Msg).SetQuestion("web.service.consul.", kind)
		edns(question)
		packed, err := question.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(lib.TypeToString[kind]+"/server=floor", func(b *testing.B) { blast(b, echo(b, reply), packed) })
		b.Run(lib.TypeToString[kind]+"/server=rollcall", func(b *testing.B) { blast(b, s.address, packed) })
	}
}

// keeping gives the same group until the registry changes, as the directory of a catalog does.
type keeping struct {
	dns.Registry
	mu     sync.Mutex
	groups map[string]dns.Group
}

func (k *keeping) Find(namespace, name string) (dns.Group, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.groups[name]; g != nil {
		return g, true
	}
	g, ok := k.Registry.Find(namespace, name)
	if ok {
		k.groups[name] = g
	}
	return g, ok
}

// echo is a server that sends one message to everybody.
func echo(b *testing.B, message *lib.Msg) (address string) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	started := make(chan struct{})
	server := &lib.Server{PacketConn: packets, UDPSize: 4096, NotifyStartedFunc: func() { close(started) }, Handler: lib.HandlerFunc(func(w lib.ResponseWriter, q *lib.Msg) {
		reply := *message
		reply.Id = q.Id
		_ = w.WriteMsg(&reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	b.Cleanup(func() { _ = server.ShutdownContext(context.Background()) })
	return packets.LocalAddr().String()
}

// blast asks from 32 sockets, each of which waits for its reply.
func blast(b *testing.B, address string, question []byte) {
	const callers = 32
	took := make([][]time.Duration, callers)
	var asking sync.WaitGroup
	b.ResetTimer()
	for c := range callers {
		asking.Go(func() {
			conn, err := net.Dial("udp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			buffer := make([]byte, 65536)
			for range b.N/callers + 1 {
				began := time.Now()
				_ = conn.SetReadDeadline(began.Add(5 * time.Second))
				if _, err := conn.Write(question); err != nil {
					b.Error(err)
					return
				}
				if _, err := conn.Read(buffer); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(began))
			}
		})
	}
	asking.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "answers/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkReplies makes replies over UDP without a network, about a service of 20 instances and about one of 6,000, of which a reply has
// as many as fit.
func BenchmarkReplies(b *testing.B) {
	r := &registry{}
	for i := range 6000 {
		if i < 20 {
			r.add(fmt.Sprintf("default/web/i%d", i), fmt.Sprintf("10.0.0.%d", i+1))
		}
		r.add(fmt.Sprintf("default/large/i%d", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	server, err := dns.New(&keeping{Registry: r, groups: map[string]dns.Group{}}, dns.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, service := range []string{"web", "large"} {
		for _, kind := range []uint16{lib.TypeA, lib.TypeSRV} {
			question := new(lib.Msg).SetQuestion(service+".service.consul.", kind).SetEdns0(4096, false)
			b.Run(service+"/"+lib.TypeToString[kind], func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					server.ServeDNS(&unwritten{}, question)
				}
			})
		}
	}
}

// unwritten sends nothing.
type unwritten struct{ writer }

func (*unwritten) Write(b []byte) (int, error) { return len(b), nil }
