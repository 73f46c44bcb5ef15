package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// pace is when commands were acknowledged.
type pace struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration // between two acknowledgements
	acked   int
}

func (p *pace) acknowledged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.longest = max(p.longest, now.Sub(p.last))
	p.last = now
	p.acked++
}

// begin begins a span of time.
func (p *pace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.longest, p.acked = time.Now(), 0, 0
}

// end gives the longest time without an acknowledged command in the span.
func (p *pace) end() (longest time.Duration, acked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.longest, time.Since(p.last)), p.acked
}

// The leader is killed again and again while clients write at all nodes. The test prints how long no command was acknowledged:
// it asserts no speed, but that commands go on each time. ROLLCALL_DEATHS says how often the leader dies.
func TestALeaderDiesUnderLoad(t *testing.T) {
	if os.Getenv("ROLLCALL_TORTURE") == "" {
		t.Skip("takes minutes: ROLLCALL_TORTURE=1 runs it")
	}
	deaths := 100
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_DEATHS")); err == nil {
		deaths = n
	}
	c := newTrio(t, newAuthority(t, "cluster"))
	ids := []string{"n1", "n2", "n3"}
	c.start(ids...)
	stop := make(chan struct{})
	var p pace
	p.begin()
	var writers sync.WaitGroup
	for w := range 8 {
		own := c.client(append(slices.Clone(ids[w%3:]), ids[:w%3]...)...)
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				details := domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Version: fmt.Sprint(n)}
				if _, err := own.Register(t.Context(), domain.Key{Service: "web", ID: fmt.Sprint(w)}, details); err == nil {
					p.acknowledged()
				}
			}
		})
	}
	var spans []time.Duration
	for n := range deaths {
		leader, others := c.leader(ids[n%3])
		p.begin()
		c.kill(leader)
		c.until("commands go on", func() error {
			if _, acked := p.end(); acked < 200 {
				return fmt.Errorf("%d commands were acknowledged since %s died", acked, leader)
			}
			return nil
		})
		now, _ := c.leader(others[0])
		span, _ := p.end()
		spans = append(spans, span)
		t.Logf("death %d, of %s: %s without an acknowledged command; %s leads", n+1, leader, span.Round(time.Millisecond), now)
		c.start(leader)
		c.until(leader+" is level", func() error {
			for _, m := range c.status(now).Members {
				if m.ID == leader && (m.Behind == nil || *m.Behind > 1000 || !m.Connected) {
					return fmt.Errorf("%+v", m)
				}
			}
			return nil
		})
	}
	close(stop)
	writers.Wait()
	c.equal(ids...)
	slices.Sort(spans)
	at := func(share float64) time.Duration {
		return spans[min(len(spans)-1, int(share*float64(len(spans))))].Round(time.Millisecond)
	}
	t.Logf("%d deaths of the leader; longest time without an acknowledged command: p50 %s, p99 %s, most %s", deaths, at(0.5), at(0.99), spans[len(spans)-1].Round(time.Millisecond))
}
