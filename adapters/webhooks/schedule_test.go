package webhooks

import (
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

func readyHook(s *schedule, host string, n int, of standing) *hook {
	h := newHook(domain.Webhook{ID: fmt.Sprint(host, n), Spec: domain.WebhookSpec{URL: "http://" + host + "/" + fmt.Sprint(n)}})
	h.standing, h.state = of, ready
	s.add(h)
	return h
}

func taken(s *schedule) (hooks []*hook) {
	for h := s.next(); h != nil; h = s.next() {
		h.state = underWay
		hooks = append(hooks, h)
	}
	return hooks
}

func TestTargetsThatFailLeaveTurnsToTheRest(t *testing.T) {
	s := newSchedule(100, 10)
	for i := range 300 {
		readyHook(&s, fmt.Sprint("failing", i), 0, failing)
		readyHook(&s, fmt.Sprint("untried", i), 0, untried)
	}
	held := taken(&s)
	if len(held) != 75 || s.taken[failing] > 25 {
		t.Fatalf("%d turns are taken, %d by failing ones", len(held), s.taken[failing])
	}
	good := readyHook(&s, "good", 0, proven)
	if got := taken(&s); len(got) != 1 || got[0] != good {
		t.Errorf("%d turns for the proven one", len(got))
	}
	for _, h := range held { // they fail, and no untried one is left behind
		s.end(h.host, h.standing)
	}
	if again := taken(&s); len(again) != 75 {
		t.Errorf("%d turns are taken after some ended", len(again))
	}
}

func TestAHostHasItsShareOfTurnsAndItsWebhooksTakeTurns(t *testing.T) {
	s := newSchedule(100, 8)
	for i := range 50 {
		readyHook(&s, "big", i, proven)
	}
	other := readyHook(&s, "small", 0, proven)
	first := taken(&s)
	if len(first) != 9 || first[1] != other {
		t.Fatalf("%d turns, the second of %s", len(first), first[1].host)
	}
	for _, h := range first {
		s.end(h.host, h.standing)
		h.state = ready
		if h != other {
			s.add(h) // behind the 42 that have not had theirs
		}
	}
	seen := map[string]bool{}
	for range 7 {
		for _, h := range taken(&s) {
			if seen[h.webhook.ID] {
				t.Fatalf("%s has its second turn before others had one", h.webhook.ID)
			}
			seen[h.webhook.ID] = true
			s.end(h.host, h.standing)
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d webhooks had turns", len(seen))
	}
	if taken(&s); len(s.hosts) != 0 {
		t.Errorf("%d hosts are remembered", len(s.hosts))
	}
}

// A webhook that was stopped while it stood in a queue is passed over, and nobody behind it is held up.
func TestAWebhookThatIsNotReadyAnyMoreIsPassedOver(t *testing.T) {
	s := newSchedule(1, 1)
	stops, goes := readyHook(&s, "h", 0, untried), readyHook(&s, "h", 1, untried)
	stops.state = stopped
	if got := taken(&s); len(got) != 1 || got[0] != goes {
		t.Fatal(len(got))
	}
	s.end("h", untried)
	stops.state = ready
	s.add(stops)
	if got := taken(&s); len(got) != 1 || got[0] != stops {
		t.Fatal(len(got))
	}
}
