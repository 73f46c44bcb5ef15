// Package leases is the projection of who was heard when. A heartbeat moves one number; deadlines
// are looked at only when they come due, and corrected then.
//
// The table measures time on the monotonic clock that its callers' time.Time values carry, from
// the moment it was made: a wall clock that jumps moves no deadline.
package leases

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Tick is how finely deadlines are told apart.
const Tick = 100 * time.Millisecond

// Lease is what the registry knows of one lease.
type Lease struct {
	Key           domain.Key
	Epoch         uint64
	TTL           time.Duration
	Deadline      time.Time // when it lapses unless a heartbeat comes
	LastHeartbeat time.Time // recorded time; zero if none came since this process started
	Heartbeats    uint64    // since this process started
	LongestGap    time.Duration
}

// Table holds the leases of all live instances. Its methods may be called from any goroutine, but Heard
// only by one at a time.
type Table struct {
	began   time.Time
	seed    maphash.Seed
	shards  [64]shard
	count   atomic.Int64
	overdue atomic.Int64
	floor   atomic.Int64 // no instance counts as last heard before this; see Grace

	numbered []*lease // by their heartbeat streams' numbers; nil or ended: to be looked up. Heard's own

	mu    sync.Mutex
	wheel map[int64][]*lease // by the tick at which to look at them
	swept int64              // ticks before this one have been looked at
}

type shard struct {
	mu     sync.Mutex
	leases map[string]*lease // by namespace/service/id
}

// lease is guarded by its shard's mutex, but for shard, name, ended and tick.
type lease struct {
	shard    *shard
	name     string
	epoch    uint64
	ttl      int64 // nanoseconds
	heard    int64 // when last heard, nanoseconds since the table began
	recorded int64 // last heartbeat's recorded time, Unix nanoseconds; 0: none
	beats    uint64
	gap      int64
	ended    atomic.Bool // out of the table: the wheel lets go of it
	tick     int64       // its place in the wheel that counts; guarded by the table's mutex
}

// NewTable is an empty table with room for so many leases; its time begins now.
func NewTable(now time.Time, room int) *Table {
	t := &Table{began: now, seed: maphash.MakeSeed(), wheel: make(map[int64][]*lease)}
	for i := range t.shards {
		t.shards[i].leases = make(map[string]*lease, room/len(t.shards))
	}
	return t
}

func (t *Table) shard(name string) *shard {
	return &t.shards[maphash.String(t.seed, name)%uint64(len(t.shards))]
}

func (t *Table) since(now time.Time) int64 { return int64(now.Sub(t.began)) }

// Start begins a lease, or gives a running one another ttl or epoch; either counts as being heard.
func (t *Table) Start(key domain.Key, epoch uint64, ttl time.Duration, now time.Time) {
	name := key.String()
	heard := t.since(now)
	s := t.shard(name)
	s.mu.Lock()
	l := s.leases[name]
	fresh := l == nil
	if fresh {
		l = &lease{shard: s, name: name}
		s.leases[name] = l
		t.count.Add(1)
	}
	if l.epoch != epoch {
		l.beats, l.gap, l.recorded = 0, 0, 0
	}
	sooner := !fresh && int64(ttl) < l.ttl
	l.epoch, l.ttl, l.heard = epoch, int64(ttl), heard
	s.mu.Unlock()
	if fresh || sooner {
		t.schedule(l, heard+int64(ttl))
	}
}

// End forgets a lease.
func (t *Table) End(key domain.Key) {
	name := key.String()
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l != nil {
		l.ended.Store(true)
		delete(s.leases, name)
		t.count.Add(-1)
	}
}

// Heard renews the lease whose heartbeat stream got an event. A heartbeat of no lease is ignored.
func (t *Table) Heard(e *eventstore.RecordedEvent, now time.Time) {
	l := t.heardLease(e)
	if l == nil {
		return
	}
	heard := t.since(now)
	l.shard.mu.Lock()
	l.gap = max(l.gap, heard-l.heard)
	l.heard, l.recorded = heard, e.RecordedAt.UnixNano()
	l.beats++
	l.shard.mu.Unlock()
}

// heardLease is the lease that a heartbeat renews, or nil.
func (t *Table) heardLease(e *eventstore.RecordedEvent) *lease {
	n := int(e.StreamNumber)
	if n < len(t.numbered) {
		if l := t.numbered[n]; l != nil && !l.ended.Load() {
			return l
		}
	}
	name := strings.TrimPrefix(string(e.Stream), eventstore.HeartbeatPrefix)
	s := t.shard(name)
	s.mu.Lock()
	l := s.leases[name]
	s.mu.Unlock()
	if l != nil && n > 0 {
		if n >= len(t.numbered) {
			t.numbered = append(t.numbered, make([]*lease, n+1-len(t.numbered))...)
		}
		t.numbered[n] = l
	}
	return l
}

// Grace counts every instance as heard just now: after a start, or a stall of this process, no one
// could be heard before.
func (t *Table) Grace(now time.Time) { t.floor.Store(t.since(now)) }

// Len is the number of leases.
func (t *Table) Len() int { return int(t.count.Load()) }

// Due is the number of leases that Overdue named when it was last called.
func (t *Table) Due() int { return int(t.overdue.Load()) }

// Find is what is known of an instance's lease.
func (t *Table) Find(key domain.Key) (Lease, bool) {
	name := key.String()
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[name]
	if l == nil {
		return Lease{}, false
	}
	return t.show(l), true
}

// show is called with the shard locked.
func (t *Table) show(l *lease) Lease {
	shown := Lease{
		Epoch: l.epoch, TTL: time.Duration(l.ttl), Heartbeats: l.beats, LongestGap: time.Duration(l.gap),
		Deadline: t.began.Add(time.Duration(t.deadline(l))),
	}
	shown.Key, _ = domain.ParseKey(l.name)
	if l.recorded != 0 {
		shown.LastHeartbeat = time.Unix(0, l.recorded).UTC()
	}
	return shown
}

func (t *Table) deadline(l *lease) int64 { return max(l.heard, t.floor.Load()) + l.ttl }

func (t *Table) schedule(l *lease, deadline int64) {
	tick := deadline/int64(Tick) + 1 // the first that begins after the deadline
	t.mu.Lock()
	defer t.mu.Unlock()
	l.tick = max(tick, t.swept)
	t.wheel[l.tick] = append(t.wheel[l.tick], l)
}

// Overdue are the leases whose deadline has passed. It looks only at those that came due since it
// was last called and at those that were overdue then, and names each once a tick at most.
func (t *Table) Overdue(now time.Time) []Lease {
	at := t.since(now)
	var overdue []Lease
	for _, l := range t.due(at / int64(Tick)) {
		if l.ended.Load() {
			continue
		}
		s := t.shard(l.name)
		s.mu.Lock()
		deadline := t.deadline(l)
		if deadline < at {
			overdue = append(overdue, t.show(l))
		}
		s.mu.Unlock()
		t.schedule(l, deadline) // of the overdue ones: look again at the next tick
	}
	t.overdue.Store(int64(len(overdue)))
	return overdue
}

// due takes from the wheel what is to be looked at up to a tick.
func (t *Table) due(tick int64) []*lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []*lease
	take := func(at int64) {
		for _, l := range t.wheel[at] {
			if l.tick == at { // else it was given another place since, or is taken already
				l.tick = -1
				due = append(due, l)
			}
		}
		delete(t.wheel, at)
	}
	if tick-t.swept > int64(len(t.wheel)) { // after a long pause: fewer slots than ticks
		for at := range t.wheel {
			if at <= tick {
				take(at)
			}
		}
	} else {
		for at := t.swept; at <= tick; at++ {
			take(at)
		}
	}
	t.swept = max(t.swept, tick+1)
	return due
}
