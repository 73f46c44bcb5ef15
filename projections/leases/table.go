// Package leases is the projection of when each instance was last heard. A heartbeat changes one number of its lease. The
// table looks at a deadline only when the deadline comes due, and then schedules the lease anew if it was renewed. Overdue
// leases are kept apart by namespace, and the table does not look at them again until something happens to them.
//
// The package also has the two rules that say when a lapsed lease may end. Listening knows when the registry could take
// renewals. Preservation holds expiry while very many leases lapse at once.
//
// The table measures time on the monotonic clock that its callers' time.Time values carry, from the time when the table
// was made. A step of the wall clock moves no deadline.
package leases

import (
	"hash/maphash"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// Tick is the resolution of deadlines in the timing wheel.
const Tick = 100 * time.Millisecond

// Lease is what the registry knows of one lease: of an instance, or of one of its ttl checks.
type Lease struct {
	Key      domain.Key
	Check    string // id of the check; "": the lease is the instance's
	Revision uint64 // of the check's definition
	Epoch    uint64
	TTL      time.Duration
	Deadline time.Time // the lease lapses then, unless a heartbeat comes before
	// LastHeard is the recorded time of the newest event that renewed the lease: a heartbeat, the registration or an
	// update. Zero: no event renewed the lease since this process started.
	LastHeard time.Time
	// ByHeartbeat says that the event of LastHeard was a heartbeat or a report.
	ByHeartbeat bool
	// HeartbeatEvents is the number of events that the instance's heartbeat stream had after the newest heartbeat that was
	// applied, of any epoch. 0: the number is not known. No heartbeat was applied since this process started, or there were more than fit.
	HeartbeatEvents uint64
}

// Table holds the leases of all live instances. Any goroutine may call its methods, except for Heard and End.
// REQUIRES: one goroutine at a time calls Heard or End.
//
// INVARIANT: a goroutine that locks both a shard and the table locks the shard first. A lease is in its shard until End
// removes it. As long as it runs, it is in the wheel or in its namespace's list of overdue leases, except while Sweep looks
// at it. The wheel may also have old places of a lease: only the place at lease.place counts.
type Table struct {
	began  time.Time
	seed   maphash.Seed
	shards [64]shard
	count  atomic.Int64
	late   atomic.Int64 // overdue leases
	deaf   atomic.Int64 // nanoseconds in which no renewal could be taken; see Deafness
	floor  atomic.Int64 // every lease counts as renewed at this time at least, nanoseconds since began; see Grace

	numbered sparse.List[lease] // by the heartbeat stream numbers of entries; nil: look the lease up by its name; only Heard and End use it

	mu         sync.Mutex
	wheel      map[int64]bucket // by the tick at which Sweep looks at the lease
	stale      int              // about how many places in the wheel do not count
	swept      int64            // ticks before this one have been looked at
	namespaces map[string]*namespace
	changed    []*namespace // namespaces whose change is not zero
}

// lease is guarded by its shard's mutex, except where a field says otherwise. There is one for every instance, so it has nothing that
// the instance's entry in the catalog has.
type lease struct {
	of           *catalog.Entry // the instance as it is now, see Replaced; changes only with the table's mutex held, too
	heard        int64          // when the lease was renewed last, nanoseconds since the table began
	recorded     int64          // recorded time of the event that renewed it last, Unix nanoseconds; 0: not known
	checks       *checkLease    // of an instance's lease: the first of the leases of its ttl checks, nil: it has none; see check
	streamEvents uint32         // see Lease.HeartbeatEvents; a larger number is not known
	hash         uint32         // of its key; never changes
	// The place of its tick in the wheel, 0: it has none; see placeOf. Of an overdue lease, the index in its namespace's list of
	// overdue leases. Guarded by the table's mutex.
	place       uint32
	overdue     bool // the lease is in its namespace's list of overdue leases; changes only with the table's mutex held, too
	byHeartbeat bool // see Lease.ByHeartbeat
	runs        bool // the lease can lapse. Otherwise it has no place in the wheel, and no number counts it
}

// NewTable is an empty table with capacity for size leases. Its time begins now.
func NewTable(now time.Time, size int) *Table {
	t := &Table{began: now, seed: maphash.MakeSeed(), wheel: make(map[int64]bucket), namespaces: make(map[string]*namespace)}
	each := size / len(t.shards)
	for i := range t.shards {
		t.shards[i].leases.Resize(each + each/20) // few shards have more leases than that, and none many more
	}
	return t
}

func (t *Table) since(now time.Time) int64 { return int64(now.Sub(t.began)) }

// Start begins the lease of an instance, or gives a running lease another ttl or epoch. Both renew the lease. recorded is the recorded
// time of the event; zero: the event is from before this process started.
func (t *Table) Start(of *catalog.Entry, recorded, now time.Time) { t.start(of, false, recorded, now) }

// Join is Start for an instance that was not registered before. It does not look for a lease, which would read each lease that the
// look passes. REQUIRES: there is no lease of the instance.
func (t *Table) Join(of *catalog.Entry, recorded, now time.Time) {
	l := &lease{of: of, hash: t.hash(of.Key()), heard: t.since(now)}
	if !recorded.IsZero() {
		l.recorded = recorded.UnixNano()
	}
	s := t.shard(l.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases.Add(l)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run(l, 0)
}

// Again is Start for a lease that a heartbeat renews after the lease lapsed.
func (t *Table) Again(of *catalog.Entry, recorded, now time.Time) { t.start(of, true, recorded, now) }

func (t *Table) start(of *catalog.Entry, byHeartbeat bool, recorded, now time.Time) {
	heard := t.since(now)
	s, l := t.lock(of.Key())
	defer s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	before := int64(0)
	if l == nil {
		l = &lease{of: of, hash: t.hash(of.Key())}
		s.leases.Add(l)
	} else {
		before = l.ttl()
		if l.of.Epoch() != of.Epoch() {
			l.recorded = 0 // so byHeartbeat means nothing
		}
		l.replace(of)
	}
	l.heard = heard
	if !recorded.IsZero() {
		l.recorded, l.byHeartbeat = recorded.UnixNano(), byHeartbeat
	}
	t.run(l, before)
}

// Replaced notes that an instance, of which there may be a lease, has another entry in the catalog. Otherwise the lease would keep the
// memory of the entry before. REQUIRES: the epoch and the ttl are as they were.
func (t *Table) Replaced(by *catalog.Entry) {
	s, l := t.lock(by.Key())
	defer s.mu.Unlock()
	if l != nil {
		t.mu.Lock()
		l.replace(by)
		t.mu.Unlock()
	}
}

// replace gives an instance's lease, and those of its checks, another entry. REQUIRES: the shard and the table are locked.
//
// INVARIANT: the entry of a lease that numbered has by a number has that number. An entry has the number of the entry before it, but that
// may have been another one than the lease's: after an event that cannot be read, see Replaced.
func (l *lease) replace(by *catalog.Entry) {
	if n := l.of.HeartbeatStream(); n != 0 && by.HeartbeatStream() == 0 {
		by.SetHeartbeatStream(n)
	}
	for l := range l.all {
		l.of = by
	}
}

// run has a lease, which was renewed now, run with its ttl, which was another one before. With a ttl of 0 it does not run any more.
// REQUIRES: the shard and the table are locked.
func (t *Table) run(l *lease, before int64) {
	ttl := l.ttl()
	if l.runs {
		t.in(l).ttls += ttl - before
	}
	switch {
	case ttl == 0:
		t.rest(l, false)
	case !l.runs:
		l.runs = true
		t.joined(t.in(l), l)
	case l.overdue:
		t.renew(l)
	case ttl < before:
		t.schedule(l, t.deadline(l))
	}
}

// ttl is the lease's ttl in nanoseconds; 0: the instance has no lease.
func (l *lease) ttl() int64 {
	if c := l.check(); c != nil {
		return c.lasts
	}
	return max(int64(l.of.TTL()), 0)
}

// joined counts and schedules a lease of a namespace that runs from now on. REQUIRES: the shard and the table are locked.
func (t *Table) joined(in *namespace, l *lease) {
	t.count.Add(1)
	in.leases++
	in.ttls += l.ttl()
	t.note(in, func(c *Change) { c.Joined++ })
	t.schedule(l, t.deadline(l))
}

// rest has a lease not run any more. lapsed says that it ended because it lapsed. REQUIRES: the shard and the table are
// locked.
func (t *Table) rest(l *lease, lapsed bool) {
	if !l.runs {
		return
	}
	l.runs = false
	t.count.Add(-1)
	in := t.in(l)
	in.leases--
	in.ttls -= l.ttl()
	if l.overdue {
		t.notOverdue(in, l)
		if !lapsed { // it makes up for its own lapse
			t.note(in, func(c *Change) { c.Joined++ })
		}
	} else {
		t.unschedule(l)
		if lapsed { // another node found it overdue
			t.note(in, func(c *Change) { c.lapse(l) })
		}
	}
	t.forget(in)
}

// End removes the leases of an instance. lapsed says that the instance ended because its lease lapsed, not because someone
// deregistered it.
func (t *Table) End(key domain.Key, lapsed bool) {
	s, l := t.lock(key)
	defer s.mu.Unlock()
	if l == nil {
		return
	}
	s.leases.Remove(l)
	if n := l.of.HeartbeatStream(); t.numbered.At(n) == l {
		t.numbered.Set(n, nil)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest(l, lapsed)
	t.endChecks(l)
}

// Lapsed notes that a lease lapsed to critical. It runs again after the next call of Start.
func (t *Table) Lapsed(key domain.Key) {
	s, l := t.lock(key)
	defer s.mu.Unlock()
	if l != nil {
		t.mu.Lock()
		t.rest(l, true)
		t.mu.Unlock()
	}
}

// Heard renews the lease whose heartbeat stream got an event. A heartbeat without a lease is ignored, and a heartbeat of
// another epoch renews nothing.
func (t *Table) Heard(e *eventstore.RecordedEvent, now time.Time) {
	l := t.heardLease(e)
	if l == nil {
		return
	}
	heard := t.since(now)
	s := t.shard(l.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.streamEvents = 0; e.Revision < math.MaxUint32 {
		l.streamEvents = uint32(e.Revision) + 1
	}
	if check, ok := domain.RenewedCheck(e.Data); ok {
		t.heardCheck(l, check, e, heard)
		return
	}
	if epoch := l.of.Epoch(); epoch > 1 && !ofEpoch(e.Data, epoch) {
		return
	}
	l.heard, l.recorded, l.byHeartbeat = heard, e.RecordedAt.UnixNano(), true
	if l.overdue {
		t.mu.Lock()
		t.renew(l)
		t.mu.Unlock()
	}
}

// ofEpoch says whether a heartbeat's data has the epoch, or has no epoch that can be read.
func ofEpoch(data []byte, epoch uint64) bool {
	const prefix = `{"epoch":`
	n := len(data) - 1
	if n <= len(prefix) || string(data[:len(prefix)]) != prefix || data[n] != '}' {
		return true
	}
	said, err := strconv.ParseUint(string(data[len(prefix):n]), 10, 64)
	return err != nil || said == epoch
}

// heardLease is the lease that a heartbeat renews, or nil.
func (t *Table) heardLease(e *eventstore.RecordedEvent) *lease {
	n := e.StreamNumber
	if l := t.numbered.At(n); l != nil {
		return l
	}
	key, ok := e.Stream.InstanceKey()
	if !ok {
		return nil
	}
	s, l := t.lock(key)
	s.mu.Unlock()
	if l != nil && n > 0 {
		t.numbered.Set(n, l)
		l.of.SetHeartbeatStream(n)
	}
	return l
}

// Len is the number of leases.
func (t *Table) Len() int { return int(t.count.Load()) }

// Due is the number of leases that are past their deadline, as of the last Sweep.
func (t *Table) Due() int { return int(t.late.Load()) }

// Find gives an instance's lease; false: the instance has none.
func (t *Table) Find(key domain.Key) (Lease, bool) {
	s, l := t.lock(key)
	defer s.mu.Unlock()
	if l == nil || l.ttl() == 0 {
		return Lease{}, false
	}
	return t.show(l), true
}

// Silence is for how long an instance was not heard up to a moment, and its lease's ttl. What was before all leases
// began anew, or before this process started, is no silence: nobody could be heard then.
func (t *Table) Silence(key domain.Key, upTo time.Time) (silence, ttl time.Duration, ok bool) {
	s, l := t.lock(key)
	defer s.mu.Unlock()
	if l == nil || l.ttl() == 0 {
		return 0, 0, false
	}
	ttl = time.Duration(l.ttl())
	return time.Duration(t.since(upTo)-t.deadline(l)) + ttl, ttl, true
}

// show describes a lease. REQUIRES: the shard is locked.
func (t *Table) show(l *lease) Lease {
	shown := Lease{
		Key: l.of.Key(), Epoch: l.of.Epoch(), TTL: time.Duration(l.ttl()),
		HeartbeatEvents: uint64(l.streamEvents), Deadline: t.began.Add(time.Duration(t.deadline(l))),
	}
	if c := l.check(); c != nil {
		shown.Check, shown.Revision, shown.Epoch, shown.HeartbeatEvents = c.id, c.revision, c.epoch, 0
		if of := t.shard(l.hash).leases.Find(l.hash, shown.Key); of != nil {
			shown.HeartbeatEvents = uint64(of.streamEvents)
		}
	}
	if l.recorded != 0 {
		shown.LastHeard, shown.ByHeartbeat = time.Unix(0, l.recorded).UTC(), l.byHeartbeat
	}
	return shown
}

// deadline is when a lease lapses, nanoseconds since the table began. REQUIRES: the shard is locked.
func (t *Table) deadline(l *lease) int64 { return max(l.heard, t.floor.Load()) + l.ttl() }
