package dns

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// slow is a registry that notes how many questions look something up at once.
type slow struct{ now, most, leftOut atomic.Int64 }

func (s *slow) Find(string, string) (Group, bool) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return nil, false
}
func (s *slow) HasNamespace(string) bool                      { return false }
func (s *slow) Nodes(string) (Group, bool)                    { return nil, false }
func (s *slow) All(yield func(wire.Instance) bool)            {}
func (s *slow) Rights() uint64                                { return 0 }
func (s *slow) Ready() error                                  { return nil }
func (s *slow) Limited()                                      {}
func (s *slow) LeftOut()                                      { s.leftOut.Add(1) }
func (s *slow) Answered(_, _ string, _ time.Duration, _ bool) {}

// written is a ResponseWriter that counts replies.
type written struct {
	dns.ResponseWriter
	over    net.Addr
	replies *atomic.Int64
}

func (w written) LocalAddr() net.Addr  { return w.over }
func (w written) RemoteAddr() net.Addr { return w.over }
func (w written) Write(b []byte) (int, error) {
	w.replies.Add(1)
	return len(b), nil
}

// A flood of questions leaves the processors to the registry, and the memory that it takes is bounded. Over TCP no question is left out.
func TestAFloodOfQuestionsIsAnsweredAFewAtATime(t *testing.T) {
	for name, over := range map[string]net.Addr{"udp": &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, "tcp": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := &slow{}
				s, err := New(registry, Options{Observer: registry})
				if err != nil {
					t.Fatal(err)
				}
				const questions = 2 * maxWaiting
				replies := new(atomic.Int64)
				for range questions {
					go s.ServeDNS(written{over: over, replies: replies}, new(dns.Msg).SetQuestion("web.service.rollcall.", dns.TypeA))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				answered := int64(questions)
				if name == "udp" {
					answered = maxWaiting + int64(runtime.GOMAXPROCS(0))
				}
				if replies.Load() != answered || registry.leftOut.Load() != questions-answered {
					t.Errorf("%d replies, %d left out of %d, want %d replies", replies.Load(), registry.leftOut.Load(), questions, answered)
				}
				if most := registry.most.Load(); most > int64(runtime.GOMAXPROCS(0)) {
					t.Errorf("%d answers were made at once", most)
				}
			})
		})
	}
}
