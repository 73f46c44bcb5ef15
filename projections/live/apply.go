package live

import (
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// apply applies events, in their order.
func (s *State) apply(events []eventstore.RecordedEvent, now time.Time) {
	for len(events) > 0 {
		n := lifecycleBegins(events)
		if n > 0 {
			s.applyLifecycle(events[:n], now)
		} else {
			s.applyOther(&events[0], now)
			n = 1
		}
		events = events[n:]
	}
}

// applyOther applies an event of a stream that is no instance's lifecycle.
func (s *State) applyOther(e *eventstore.RecordedEvent, now time.Time) {
	if e.IsHeartbeat() {
		s.leases.Heard(e, now)
		return
	}
	if e.Stream == eventstore.RegistryStream {
		s.registry.Store(s.registry.Load().after(e))
		return
	}
	if e.Stream == eventstore.PolicyStream {
		s.applyPolicy(e)
	}
}

// lifecyclesAtOnce is how many lifecycle events are applied at once: so many that the processor's waits for the memory of the
// catalog's index overlap, and so few that whoever takes a snapshot waits for microseconds.
const lifecyclesAtOnce = 16

// lifecycleBegins is how many lifecycle events there are at the beginning, lifecyclesAtOnce at most.
func lifecycleBegins(events []eventstore.RecordedEvent) (n int) {
	for n < min(len(events), lifecyclesAtOnce) && !events[n].IsHeartbeat() && strings.HasPrefix(string(events[n].Stream), eventstore.LifecyclePrefix) {
		n++
	}
	return n
}

// applyLifecycle applies lifecycle events. REQUIRES: there are at most lifecyclesAtOnce.
func (s *State) applyLifecycle(events []eventstore.RecordedEvent, now time.Time) {
	var outcomes [lifecyclesAtOnce]outcome
	s.events += uint64(len(events))
	s.unsaved += len(events)
	n := 0
	s.changing.Lock()
	s.Catalog().ApplyAll(events, func(e *eventstore.RecordedEvent, before, entry *catalog.Entry, err error) {
		if err == nil && before != entry {
			s.feed.Append(e, before, entry)
		}
		outcomes[n] = outcome{before, entry, err}
		n++
	})
	s.changing.Unlock()
	for i := range events {
		s.follow(&events[i], outcomes[i], now)
	}
}

// outcome is what an event did to the catalog.
type outcome struct {
	before, entry *catalog.Entry
	err           error
}

// follow has the leases follow the catalog.
func (s *State) follow(e *eventstore.RecordedEvent, o outcome, now time.Time) {
	before, entry, err := o.before, o.entry, o.err
	switch {
	case err != nil:
		s.skip(e, err)
	case entry == nil && before != nil:
		s.leases.End(before.Key(), e.Type == domain.TypeLeaseExpired && before.Lapsed().IsZero())
		if before.Watched() {
			s.removals.Set(before.Key(), nil, nil, now)
		}
	case entry != nil && before == nil: // and so without a lease, see startLeases
		s.leases.Join(entry, e.RecordedAt, now)
		s.watch(e, before, entry, now)
	case entry != nil && (e.Type == domain.TypeInstanceRegistered || e.Type == domain.TypeInstanceUpdated):
		s.leases.Start(entry, e.RecordedAt, now)
		s.watch(e, before, entry, now)
	case entry != nil:
		s.leases.Replaced(entry)
		s.watch(e, before, entry, now)
	}
}

func (s *State) skip(e *eventstore.RecordedEvent, cause error) {
	s.skipped.Add(1)
	s.opts.Logger.Error("event is kept but cannot be applied", "position", e.Position, "stream", e.Stream, "type", e.Type, "cause", cause)
}
