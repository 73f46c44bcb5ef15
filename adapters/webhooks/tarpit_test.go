package webhooks_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// tarpit is a target that takes requests and answers none until it is let go.
func tarpit(t *testing.T) (url string, asked *atomic.Int64, letGo func()) {
	t.Helper()
	asked = new(atomic.Int64)
	free := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-free
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked, func() { close(free) }
}

// An attempt may take a minute here, and a command waits for the projection: had that waited for the attempt,
// the test would time out.
func TestNoCommandWaitsForATargetThatNeverAnswers(t *testing.T) {
	r := start(t, func(o *webhooks.Options) { o.Timeout = time.Minute })
	url, asked, letGo := tarpit(t)
	t.Cleanup(letGo)
	const hanging = 40
	var ids []string
	for range hanging {
		ids = append(ids, r.create(domain.WebhookSpec{URL: url}))
	}
	r.happen("a", 2)
	r.until("every webhook to hang", func([]string) bool { return asked.Load() == hanging })
	began := time.Now()
	for i, id := range ids {
		for _, c := range [][]domain.WebhookCommand{
			{domain.PauseWebhook{Reason: "it hangs"}, domain.ResumeWebhook{}},
			{domain.ReplayWebhook{After: 0}},
			{domain.DeleteWebhook{}},
			{domain.PauseWebhook{Reason: "it hangs"}, domain.DeleteWebhook{}},
		}[i%4] {
			if err := r.command.Do(t.Context(), commands.Caller{}, id, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.create(domain.WebhookSpec{}) // at a healthy target
	r.happen("b", 1)
	r.until("the healthy webhook's events", func(got []string) bool { return len(got) == 3 })
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("commands took %s beside targets that hang", took)
	}
}

func TestWhatAWebhookBecameWhileItHungHoldsAfterwards(t *testing.T) {
	r := start(t, func(o *webhooks.Options) { o.Timeout = time.Minute })
	url, asked, letGo := tarpit(t)
	do := func(id string, all ...domain.WebhookCommand) {
		t.Helper()
		for _, c := range all {
			if err := r.command.Do(t.Context(), commands.Caller{}, id, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	resumed, paused, deleted := r.create(domain.WebhookSpec{URL: url}), r.create(domain.WebhookSpec{URL: url}), r.create(domain.WebhookSpec{URL: url})
	r.happen("a", 2)
	r.until("all to hang", func([]string) bool { return asked.Load() == 3 })
	do(resumed, domain.PauseWebhook{}, domain.ResumeWebhook{})
	do(paused, domain.PauseWebhook{})
	do(deleted, domain.DeleteWebhook{})
	letGo()
	r.until("the resumed webhook's second event", func([]string) bool { return len(r.attempts(resumed)) == 2 })
	r.until("the attempts under way of the others", func([]string) bool { return len(r.attempts(paused)) == 1 && len(r.attempts(deleted)) == 0 })
	if n := asked.Load(); n != 4 {
		t.Errorf("the target was asked %d times, want 4", n)
	}
}

// A target that never answers holds up a stop for the grace only, and gets the event again after the next start.
func TestAStopWaitsForAnAttemptForItsGraceOnly(t *testing.T) {
	var began time.Time
	t.Cleanup(func() { // runs after the rig has stopped
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
	url, asked, letGo := tarpit(t)
	t.Cleanup(letGo)
	r := start(t, func(o *webhooks.Options) { o.Timeout, o.Grace = time.Minute, 10*time.Millisecond })
	r.create(domain.WebhookSpec{URL: url})
	r.happen("a", 1)
	r.until("the attempt", func([]string) bool { return asked.Load() == 1 })
	t.Cleanup(func() { began = time.Now() })
}
