package dns

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// limiter bounds the replies to one network, so that nobody can aim the server's replies at a network by questions that
// bear a false source. The memory is bounded: networks share buckets, and the networks of a bucket share its tokens.
//
// Of the replies above the limit every other one is sent empty and cut (TC): a real client then asks again over TCP,
// where the source cannot be false.
type limiter struct {
	perSecond float64
	now       func() time.Time
	seed      maphash.Seed
	buckets   [4096]bucket
}

type bucket struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time // zero: never used
	slip   bool      // the next reply above the limit is sent, cut
}

// verdict is what becomes of a reply.
type verdict int

const (
	allowed verdict = iota
	slipped         // it is sent without answers, cut
	dropped
)

func newLimiter(perSecond int, now func() time.Time) *limiter {
	return &limiter{perSecond: float64(perSecond), now: now, seed: maphash.MakeSeed()}
}

// take takes a token of the client's network.
func (l *limiter) take(from netip.Addr) verdict {
	bits := 24
	if from.Is6() {
		bits = 56
	}
	network, err := from.Prefix(bits)
	if err != nil {
		return allowed // no address: not a client over IP
	}
	b := &l.buckets[maphash.Comparable(l.seed, network)%uint64(len(l.buckets))]
	now := l.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.filled.IsZero() {
		b.tokens = l.perSecond
	} else {
		b.tokens = min(l.perSecond, b.tokens+l.perSecond*max(now.Sub(b.filled), 0).Seconds())
	}
	b.filled = now
	if b.tokens >= 1 {
		b.tokens--
		return allowed
	}
	b.slip = !b.slip
	if b.slip {
		return slipped
	}
	return dropped
}

// limit takes what a reply over UDP uses of its network's limit.
func (s *Server) limit(to netip.Addr) verdict {
	if s.limiter == nil || to.IsLoopback() {
		return allowed
	}
	v := s.limiter.take(to)
	if v != allowed && s.options.Observer != nil {
		s.options.Observer.Limited()
	}
	return v
}

// limitRefusals has the library's own replies, to packets that are no questions, count to the limit. The replies of ServeDNS do not
// come by here: ServeDNS hands them to the connection itself.
func (s *Server) limitRefusals(to dns.Writer) dns.Writer { return &refusals{to, s} }

type refusals struct {
	dns.Writer
	server *Server
}

// Write sends a refusal within the limit. A refusal above the limit is not sent: it is as large as an empty reply that is cut.
func (r *refusals) Write(packed []byte) (int, error) {
	if to, ok := r.Writer.(dns.ResponseWriter); ok && r.server.limit(addressOf(to.RemoteAddr())) != allowed {
		return len(packed), nil
	}
	return r.Writer.Write(packed)
}
