package leases

import (
	"bytes"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// A ttl check has a lease like an instance's. It runs until the check is critical: nothing more can lapse then. The leases of
// checks count as leases of their namespace, for self-preservation too.

// checkLease is the lease of one ttl check. It is guarded by the shard of its instance's lease, which is its own, too. Its
// field streamEvents means nothing: the instance's counts.
type checkLease struct {
	lease
	id       string
	revision uint64      // of the check's definition
	epoch    uint64      // in which the lease began
	lasts    int64       // its ttl, nanoseconds
	next     *checkLease // the next of the same instance
}

// check is the check's lease that a lease is a part of; nil: the lease is an instance's. A check's lease points to itself.
func (l *lease) check() *checkLease {
	if c := l.checks; c != nil && &c.lease == l {
		return c
	}
	return nil
}

// each yields the leases of the checks of an instance's lease.
func (l *lease) each(yield func(*checkLease) bool) {
	for c := l.checks; c != nil; c = c.next {
		if !yield(c) {
			return
		}
	}
}

// Checks gives an instance's lease the leases of its ttl checks, as the states of the checks say. A lease of a check that is
// new, or that has another definition, begins; so does that of the check with the id renewed. lapsed is the id of the check
// whose lease has lapsed; "": no lease has. recorded is the recorded time of
// the event that changed the checks; zero: the event is from before this process started. REQUIRES: Start was called for the
// instance.
func (t *Table) Checks(of *catalog.Entry, renewed, lapsed string, recorded, now time.Time) {
	states := of.Checks()
	s, l := t.lock(of.Key())
	defer s.mu.Unlock()
	if l == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l.replace(of)
	var kept []*checkLease
	for i := range states {
		state := &states[i]
		if state.Kind != domain.CheckTTL {
			continue
		}
		c := l.find(state.ID)
		begins := c == nil || c.revision != state.Revision || c.epoch != of.Epoch() || state.ID == renewed
		if c == nil {
			c = &checkLease{lease: lease{of: of, hash: l.hash}, id: state.ID}
			c.checks = c
		}
		if begins {
			c.revision, c.epoch, c.heard = state.Revision, of.Epoch(), t.since(now)
			if !recorded.IsZero() {
				c.recorded, c.byHeartbeat = recorded.UnixNano(), state.ID == renewed
			}
		}
		if state.Status == domain.Critical {
			t.rest(&c.lease, state.ID == lapsed)
		} else if begins || !c.runs {
			before := c.lasts
			c.lasts = max(int64(state.TTL), 0)
			t.run(&c.lease, before)
		}
		kept = append(kept, c)
	}
	for c := range l.each {
		if !slices.Contains(kept, c) {
			t.rest(&c.lease, false)
		}
	}
	l.checks = nil
	for _, c := range slices.Backward(kept) {
		c.next, l.checks = l.checks, c
	}
}

// endChecks ends the leases of an instance's checks. REQUIRES: the shard and the table are locked.
func (t *Table) endChecks(l *lease) {
	for c := range l.each {
		t.rest(&c.lease, false)
	}
}

// find is the lease of one of an instance's checks; nil: there is none.
func (l *lease) find(id string) *checkLease {
	for c := range l.each {
		if c.id == id {
			return c
		}
	}
	return nil
}

// all yields the lease of an instance and the leases of its checks.
func (l *lease) all(yield func(*lease) bool) {
	if !yield(l) {
		return
	}
	for c := range l.each {
		if !yield(&c.lease) {
			return
		}
	}
}

// heardCheck renews the lease of a check. REQUIRES: the shard is locked.
func (t *Table) heardCheck(l *lease, check []byte, e *eventstore.RecordedEvent, heard int64) {
	c := l.find(string(check))
	if c == nil || c.epoch > 1 && !ofEpoch(epochOf(e.Data), c.epoch) { // before the first epoch there is none
		return
	}
	c.heard, c.recorded, c.byHeartbeat = heard, e.RecordedAt.UnixNano(), true
	if c.overdue {
		t.mu.Lock()
		t.renew(&c.lease)
		t.mu.Unlock()
	}
}

// FindCheck gives the lease of a ttl check; false: there is none.
func (t *Table) FindCheck(key domain.Key, id string) (Lease, bool) {
	s, l := t.lock(key)
	defer s.mu.Unlock()
	if l == nil {
		return Lease{}, false
	}
	c := l.find(id)
	if c == nil {
		return Lease{}, false
	}
	return t.show(&c.lease), true
}

// Same finds the lease anew; false: it ended.
func (t *Table) Same(l Lease) (Lease, bool) {
	if l.Check != "" {
		return t.FindCheck(l.Key, l.Check)
	}
	return t.Find(l.Key)
}

// epochOf is the data of a renewal without its check.
func epochOf(data []byte) []byte {
	epoch, _, _ := bytes.Cut(data, []byte(","))
	return append(slices.Clone(epoch), '}')
}
