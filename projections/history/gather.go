package history

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// gatherFor is how long events gather before they are applied together.
const gatherFor = 3 * time.Millisecond

// gathering has events that come close together applied together, as long as no query waits for them: to wake, and to apply the events of
// one commit, costs as much as some events do (ADR 173).
type gathering struct {
	newest time.Time     // when the newest event was recorded; only the goroutine that applies events uses it
	asking atomic.Int32  // queries that wait
	asked  chan struct{} // has a value after each beginning of a wait, until one is taken
}

func newGathering() gathering { return gathering{asked: make(chan struct{}, 1)} }

// wait waits after events were applied, unless they come seldom, and until a query waits.
func (g *gathering) wait(ctx context.Context, applied []eventstore.RecordedEvent) {
	if len(applied) == 0 {
		return
	}
	before := g.newest
	g.newest = applied[len(applied)-1].RecordedAt
	if g.newest.Sub(before) > 2*gatherFor {
		return
	}
	select {
	case <-g.asked: // by a query that is counted still, or needs nothing more
	default:
	}
	if g.asking.Load() > 0 {
		return
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-g.asked:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hurry says that a query waits, until done.
func (g *gathering) hurry() (done func()) {
	g.asking.Add(1)
	select {
	case g.asked <- struct{}{}:
	default:
	}
	return func() { g.asking.Add(-1) }
}
