package webhooks_test

import (
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// The pauses of a target that fails are a few milliseconds here, so that without its wish it would be tried again many times.
func TestATargetThatAsksForTimeGetsIt(t *testing.T) {
	r := start(t, nil)
	busy := true
	r.after = "600"
	r.answer = func(e cloudevents.Event) int {
		if busy && e.Subject() == "default/web/a" {
			return 503
		}
		return 204
	}
	id := r.create(domain.WebhookSpec{})
	r.happen("a", 1)
	r.until("the first attempt", func([]string) bool { return len(r.attempts(id)) == 1 })
	r.mu.Lock()
	busy = false
	r.mu.Unlock()
	r.happen("b", 1)
	for range 50 { // webhooks that go on meanwhile
		other := r.create(domain.WebhookSpec{})
		r.until("the other webhook", func([]string) bool { return len(r.attempts(other)) == 2 })
	}
	if n := len(r.attempts(id)); n != 1 {
		t.Errorf("a target that asked for ten minutes was tried %d times", n)
	}
	// Whoever does not want to wait pauses and resumes.
	for _, c := range []domain.WebhookCommand{domain.PauseWebhook{Reason: "it is well again"}, domain.ResumeWebhook{}} {
		if err := r.command.Do(t.Context(), commands.Caller{}, id, c); err != nil {
			t.Fatal(err)
		}
	}
	r.until("what was due", func([]string) bool { return len(r.attempts(id)) == 3 })
}
