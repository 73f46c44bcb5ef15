package history_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// Events gather only where they come close together and no query waits for them.
func TestEventsGatherUnlessAQueryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := history.NewGathering()
		waited := func() time.Duration {
			begin := time.Now()
			g.Wait(t.Context(), []eventstore.RecordedEvent{{RecordedAt: begin}})
			return time.Since(begin)
		}
		if got := waited(); got != 0 {
			t.Errorf("the first event is waited after for %s", got)
		}
		if got := waited(); got != history.GatherFor {
			t.Errorf("an event right after another is waited after for %s", got)
		}
		g.Hurry()() // a query that has its answer
		if got := waited(); got != history.GatherFor {
			t.Errorf("after a query the wait is of %s", got)
		}
		done := g.Hurry()
		for range 3 {
			if got := waited(); got != 0 {
				t.Errorf("while a query waits, the wait is of %s", got)
			}
		}
		done()
		waited()
		go func() {
			time.Sleep(time.Millisecond)
			defer g.Hurry()()
		}()
		if got := waited(); got != time.Millisecond {
			t.Errorf("a query that comes after a millisecond ends the wait after %s", got)
		}
		time.Sleep(time.Second)
		if got := waited(); got != 0 {
			t.Errorf("an event after a second is waited after for %s", got)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		g.Wait(ended, []eventstore.RecordedEvent{{RecordedAt: begin}})
		g.Wait(t.Context(), nil)
		if got := time.Since(begin); got != 0 {
			t.Errorf("without an event, or at the end, the wait is of %s", got)
		}
	})
}
