package leases

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// namespace has the numbers of a namespace's leases. It is guarded by the table's mutex.
type namespace struct {
	name    string
	leases  int
	ttls    int64 // sum of all leases' ttls, nanoseconds
	overdue []*lease
	next    int // index in overdue at which the next call of Overdue begins
	change  Change
}

// Change counts what happened to a namespace's leases since the last call of Changes.
type Change struct {
	Lapsed    int           // leases that became overdue
	LapsedTTL time.Duration // the sum of their ttls
	Joined    int           // leases that are new, and overdue leases that were renewed or whose instance was deregistered
}

// Census counts a namespace's leases.
type Census struct {
	Namespace string
	Leases    int
	Overdue   int
	TTL       time.Duration // the mean ttl
	Change
}

func (c *Change) lapse(l *lease) {
	c.Lapsed++
	c.LapsedTTL += time.Duration(l.ttl())
}

// Grace renews every lease now, because no renewal could be taken before.
func (t *Table) Grace(now time.Time) {
	t.mu.Lock()
	t.floor.Store(t.since(now))
	var overdue []*lease
	for _, n := range t.namespaces {
		overdue = append(overdue, n.overdue...)
	}
	t.mu.Unlock()
	for _, l := range overdue {
		s := t.shard(l.hash)
		s.mu.Lock()
		if l.overdue {
			t.mu.Lock()
			t.renew(l)
			t.mu.Unlock()
		}
		s.mu.Unlock()
	}
}

// Deafness adds a time in which no renewal could be taken. It does not count towards a removal.
func (t *Table) Deafness(d time.Duration) { t.deaf.Add(int64(d)) }

// Anew is when all leases last began anew: at the last call of Grace, or when the table was made.
func (t *Table) Anew() time.Time { return t.began.Add(time.Duration(t.floor.Load())) }

// ShortestTTL is the shortest ttl of all leases; 0: there is no lease. It looks at every lease.
func (t *Table) ShortestTTL() (shortest time.Duration) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for l := range s.leases.All() {
			for l := range l.all {
				if l.runs && (shortest == 0 || time.Duration(l.ttl()) < shortest) {
					shortest = time.Duration(l.ttl())
				}
			}
		}
		s.mu.Unlock()
	}
	return shortest
}

// Sweep finds the leases whose deadline has passed. It looks only at the leases that came due since its last call.
// REQUIRES: one goroutine at a time calls Sweep.
func (t *Table) Sweep(now time.Time) {
	at := t.since(now)
	for _, l := range t.due(at / int64(Tick)) {
		s := t.shard(l.hash)
		s.mu.Lock()
		t.mu.Lock()
		switch deadline := t.deadline(l); {
		case !l.runs || l.place != 0: // it ended, or got another place in the wheel meanwhile
		case deadline >= at:
			t.schedule(l, deadline)
		default:
			l.overdue = true
			in := t.in(l)
			l.place = uint32(len(in.overdue))
			in.overdue = append(in.overdue, l)
			t.late.Add(1)
			t.note(in, func(c *Change) { c.lapse(l) })
		}
		t.mu.Unlock()
		s.mu.Unlock()
	}
}

// Changes are the namespaces with a change since the last call of Changes, and their numbers.
func (t *Table) Changes() []Census {
	t.mu.Lock()
	defer t.mu.Unlock()
	changes := make([]Census, len(t.changed))
	for i, n := range t.changed {
		changes[i] = n.census()
		changes[i].Change, n.change = n.change, Change{}
		t.forget(n)
	}
	t.changed = t.changed[:0]
	return changes
}

// Late are the numbers of every namespace that has overdue leases.
func (t *Table) Late() (late []Census) {
	if t.late.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.namespaces {
		if len(n.overdue) > 0 {
			late = append(late, n.census())
		}
	}
	return late
}

// Namespaces are the names of the namespaces that have leases.
func (t *Table) Namespaces() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.namespaces {
		if n.leases > 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// Count gives the numbers of a namespace, or of all namespaces (""). TTL is then the longest of the mean ttls.
func (t *Table) Count(name string) Census {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.namespaces[name]; n != nil {
		return n.census()
	}
	c := Census{Namespace: name}
	if name == "" {
		for _, n := range t.namespaces {
			c.Leases += n.leases
			c.Overdue += len(n.overdue)
			c.TTL = max(c.TTL, n.census().TTL)
		}
	}
	return c
}

// CountOverdue is the number of overdue leases of instances of the services that are picked, in a namespace or ("") in all.
func (t *Table) CountOverdue(name string, picked func(domain.ServiceKey) bool) (count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.namespaces {
		if name != "" && n.name != name {
			continue
		}
		for _, l := range n.overdue {
			if l.check() == nil && picked(l.of.Service()) {
				count++
			}
		}
	}
	return count
}

func (n *namespace) census() Census {
	return Census{Namespace: n.name, Leases: n.leases, Overdue: len(n.overdue), TTL: time.Duration(n.ttls / int64(max(n.leases, 1)))}
}

// Overdue gives at most limit of a namespace's leases whose deadline had passed at the last Sweep, and that were not
// renewed since. Each call goes on where the call before ended, so that no lease is left out for long.
func (t *Table) Overdue(name string, limit int) []Lease {
	t.mu.Lock()
	n := t.namespaces[name]
	if n == nil {
		t.mu.Unlock()
		return nil
	}
	picked := make([]*lease, min(limit, len(n.overdue)))
	for i := range picked {
		picked[i] = n.overdue[(n.next+i)%len(n.overdue)]
	}
	n.next += len(picked)
	if len(n.overdue) > 0 {
		n.next %= len(n.overdue)
	}
	t.mu.Unlock()
	shown := make([]Lease, 0, len(picked))
	for _, l := range picked {
		s := t.shard(l.hash)
		s.mu.Lock()
		if l.overdue {
			shown = append(shown, t.show(l))
		}
		s.mu.Unlock()
	}
	return shown
}

// in is the namespace of a lease. REQUIRES: the table is locked.
func (t *Table) in(l *lease) *namespace { return t.namespace(l.of.Service().Namespace) }

// namespace is the namespace of that name, made where there is none. REQUIRES: the table is locked.
func (t *Table) namespace(name string) *namespace {
	n := t.namespaces[name]
	if n == nil {
		n = &namespace{name: name}
		t.namespaces[name] = n
	}
	return n
}

// forget removes a namespace without leases, once Changes has given its change. REQUIRES: the table is locked.
func (t *Table) forget(n *namespace) {
	if n.leases == 0 && n.change == (Change{}) && t.namespaces[n.name] == n {
		delete(t.namespaces, n.name)
	}
}

// note adds to a namespace's change. REQUIRES: the table is locked.
func (t *Table) note(n *namespace, change func(*Change)) {
	if n.change == (Change{}) {
		t.changed = append(t.changed, n)
	}
	change(&n.change)
}

// renew makes an overdue lease a living one. REQUIRES: the shard and the table are locked.
func (t *Table) renew(l *lease) {
	in := t.in(l)
	t.notOverdue(in, l)
	t.note(in, func(c *Change) { c.Joined++ })
	t.schedule(l, t.deadline(l))
}

// notOverdue removes a lease from its namespace's list of overdue leases. REQUIRES: the shard and the table are locked.
func (t *Table) notOverdue(in *namespace, l *lease) {
	list := in.overdue
	last := list[len(list)-1]
	list[l.place], last.place = last, l.place
	list[len(list)-1] = nil
	in.overdue = list[:len(list)-1]
	l.overdue, l.place = false, 0
	t.late.Add(-1)
}

// placeOf is the place of a tick in the wheel. Places repeat after 13 years, and 0 is the place of none.
func placeOf(tick int64) uint32 { return uint32(tick%(1<<32-1)) + 1 }

// isAt says whether the lease's place in the wheel is at a tick. REQUIRES: the table is locked.
func (l *lease) isAt(tick int64) bool { return !l.overdue && l.place == placeOf(tick) }

// schedule puts a lease into the wheel. REQUIRES: the table is locked.
func (t *Table) schedule(l *lease, deadline int64) {
	t.unschedule(l)
	tick := max(deadline/int64(Tick)+1, t.swept) // the first tick that begins after the deadline
	l.place = placeOf(tick)
	t.wheel[tick] = t.wheel[tick].with(l)
}

// unschedule makes the lease's place in the wheel one that does not count. When most places in the wheel do not count, it
// removes them all, so that a lease that ends long before its deadline takes no memory until then. REQUIRES: the table is
// locked.
func (t *Table) unschedule(l *lease) {
	if l.place == 0 {
		return
	}
	l.place = 0
	t.stale++
	if t.stale < 1024 || t.stale < int(t.count.Load()) {
		return
	}
	t.stale = 0
	for at, slot := range t.wheel {
		var kept bucket
		for l := range slot.all {
			if l.isAt(at) {
				kept = kept.with(l)
			}
		}
		if kept == nil {
			delete(t.wheel, at)
		} else {
			t.wheel[at] = kept
		}
	}
}

// due takes from the wheel the leases that are to be looked at up to a tick.
func (t *Table) due(tick int64) []*lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []*lease
	take := func(at int64) {
		for l := range t.wheel[at].all {
			if l.isAt(at) {
				l.place = 0
				due = append(due, l)
			} else { // it ended, was given another place since, or is taken already
				t.stale--
			}
		}
		delete(t.wheel, at)
	}
	if tick-t.swept > int64(len(t.wheel)) { // after a long pause the wheel has fewer entries than ticks have passed
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
