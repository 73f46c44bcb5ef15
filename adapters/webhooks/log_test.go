package webhooks

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// Webhooks come and go, and the log keeps nothing of those that are gone: neither in memory nor on disk.
func TestTheLogForgetsWebhooksThatAreGone(t *testing.T) {
	l, err := OpenLog(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l.Add("kept", Attempt{Event: "e", At: at})
	for i := range 100 {
		id := fmt.Sprint("w", i)
		l.Add(id, Attempt{Event: "e", At: at})
		l.Add(id, Attempt{Event: "e", At: at})
		l.Forget([]string{id})
	}
	if len(l.next) != 1 {
		t.Errorf("the log holds %d webhooks in memory, want 1", len(l.next))
	}
	if attempts, err := l.Newest("w7", 10); err != nil || len(attempts) != 0 {
		t.Errorf("a webhook that is gone has %d attempts, %v", len(attempts), err)
	}
	if attempts, err := l.Newest("kept", 10); err != nil || len(attempts) != 1 {
		t.Errorf("the webhook that is left has %d attempts, %v", len(attempts), err)
	}
}
