package live

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// startLeases begins the leases of the catalog's instances, because nobody could be heard while the registry did not run.
// What was critical before goes on towards its removal, by the time in which the registry listened.
func (s *State) startLeases(ctx context.Context, now time.Time) error {
	var stopped time.Time // when the newest event was recorded; zero: it was not read yet
	elapsed := func(r leases.Removal) time.Duration {
		return s.listened(r.Since, stopped)
	}
	for _, e := range s.beginLeases(now) {
		key := e.Key()
		if !e.Lapsed().IsZero() {
			s.leases.Lapsed(key)
		}
		s.leases.Checks(e, "", "", time.Time{}, now)
		wanted := removals(e)
		if len(wanted) > 0 && stopped.IsZero() && !s.stale.Load() {
			var err error
			if stopped, err = s.newest(ctx); err != nil {
				return err
			}
		}
		s.removals.Set(key, wanted, elapsed, now)
	}
	return nil
}

// beginLeases begins the lease of every instance, on all processors, and gives the instances of which more is watched than that.
func (s *State) beginLeases(now time.Time) (watched []*catalog.Entry) {
	services := make(chan []*catalog.Entry) // closed when every service has been given to a goroutine
	var mu sync.Mutex                       // guards watched
	var beginning sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		beginning.Go(func() {
			for entries := range services {
				s.leases.Begin(entries, now)
				for _, e := range entries {
					if e.Watched() {
						mu.Lock()
						watched = append(watched, e)
						mu.Unlock()
					}
				}
			}
		})
	}
	for _, entries := range s.Catalog().ByService {
		services <- entries
	}
	close(services)
	beginning.Wait()
	return watched
}

// newest is when the newest event of the store was recorded. Until then the registry ran.
func (s *State) newest(ctx context.Context) (time.Time, error) {
	for e, err := range s.opts.Store.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true, Limit: 1}) {
		return e.RecordedAt, err
	}
	return time.Time{}, nil
}

// listened is how long, between two times, the registry was able to take renewals, as its stream tells.
func (s *State) listened(from, to time.Time) time.Duration {
	d := to.Sub(from)
	for _, deaf := range s.registry.Load().deaf {
		begin, end := deaf.From, deaf.To
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		d -= max(end.Sub(begin), 0)
	}
	return max(d, 0)
}

// watch keeps the leases and the removals of an instance with checks level with its entry. before is nil if the instance was
// not in the catalog.
func (s *State) watch(e *eventstore.RecordedEvent, before, entry *catalog.Entry, now time.Time) {
	if !entry.Watched() && !before.Watched() {
		return
	}
	key := entry.Key()
	switch e.Type {
	case domain.TypeHealthChanged:
		if was := before.Lapsed(); was.IsZero() && !entry.Lapsed().IsZero() {
			s.leases.Lapsed(key)
		} else if !was.IsZero() && entry.Lapsed().IsZero() {
			s.leases.Again(entry, e.RecordedAt, now)
		}
	case domain.TypeCheckChanged:
		var renewed, lapsed string
		event, err := eventstore.Decode(e)
		if changed, ok := event.(domain.CheckChanged); err == nil && ok {
			switch changed.Cause {
			case domain.CheckReported:
				renewed = changed.Check
			case domain.CheckLapsed:
				lapsed = changed.Check
			}
		}
		s.leases.Checks(entry, renewed, lapsed, e.RecordedAt, now)
	case domain.TypeTrafficChanged:
		return
	default:
		s.leases.Checks(entry, "", "", e.RecordedAt, now)
	}
	s.removals.Set(key, removals(entry), func(leases.Removal) time.Duration { return 0 }, now)
}

// minGrace is the shortest grace before the removal for a check that the registry probes. A check with a longer interval has
// been looked at when it went critical, and is looked at first of all after a restart.
const minGrace = 30 * time.Second

// removals are the removals that an entry asks for.
func removals(e *catalog.Entry) (all []leases.Removal) {
	if lapsed := e.Lapsed(); !lapsed.IsZero() && e.RemoveAfter() > 0 {
		all = append(all, leases.Removal{Key: e.Key(), Epoch: e.Epoch(), Since: lapsed, After: e.RemoveAfter(), Grace: e.TTL()})
	}
	for _, c := range e.Checks() {
		if c.Status == domain.Critical && c.RemoveAfter > 0 {
			grace := max(time.Duration(c.TTL), minGrace)
			all = append(all, leases.Removal{Key: e.Key(), Epoch: e.Epoch(), Check: c.ID, Since: c.Since, After: time.Duration(c.RemoveAfter), Grace: grace})
		}
	}
	return all
}
