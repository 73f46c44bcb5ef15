package report

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// numbers count instances by groups: all of them, and by service, zone and version.
type numbers struct {
	clock   *clock
	least   int
	begin   moment
	total   *group
	groups  map[Dimension]map[string]*group
	cohorts map[names]*cohort
	counted int // instances
}

// names are those by which an instance is grouped. A name of a dimension with MaxGroups groups is OtherNames.
type names struct{ service, zone, version string }

// cohort has the instances that belong to the same groups. Times are summed up here, once, and get into the groups at the end.
type cohort struct {
	groups [4]*group
	seats  [seats]seat
	count  int
}

// seat counts the instances of a cohort that have one status and one traffic state.
//
// INVARIANT: total has the time up to since. The number stands from since on.
type seat struct {
	number int
	since  int64 // listened time
	total  total
}

// seats is how many there are. The first three are for instances whose status is not known.
const seats = (len(traces.Statuses) + 1) * len(traces.Traffics)

func seatOf(s *traces.State) int { return int(s.Status)*len(traces.Traffics) + int(s.Traffic) }

func (s *seat) add(n int, now moment) {
	if now.listened > s.since {
		s.total.add(now.listened-s.since, s.number)
		s.since = now.listened
	}
	s.number += n
}

func newNumbers(c *clock, least int, begin moment) numbers {
	n := numbers{clock: c, least: least, begin: begin, cohorts: map[names]*cohort{}}
	n.groups = map[Dimension]map[string]*group{ByService: {}, ByZone: {}, ByVersion: {}}
	n.total = n.newGroup()
	return n
}

func (n *numbers) newGroup() *group { return &group{clock: n.clock, least: n.least, last: n.begin} }

// group is a group of a dimension, and the name under which it is kept.
func (n *numbers) group(d Dimension, name string) (*group, string) {
	of := n.groups[d]
	if of[name] == nil && len(of) >= MaxGroups {
		name = OtherNames
	}
	if of[name] == nil {
		of[name] = n.newGroup()
	}
	return of[name], name
}

func (n *numbers) cohort(service, zone, version string) *cohort {
	c := n.cohorts[names{service, zone, version}]
	if c != nil {
		return c
	}
	if len(n.cohorts) > 1000+2*n.counted {
		n.forget()
	}
	byService, service := n.group(ByService, service)
	byZone, zone := n.group(ByZone, zone)
	byVersion, version := n.group(ByVersion, version)
	key := names{service, zone, version}
	if c = n.cohorts[key]; c == nil {
		c = &cohort{groups: [4]*group{n.total, byService, byZone, byVersion}}
		n.cohorts[key] = c
	}
	return c
}

// forget sums up the cohorts without an instance, so that memory depends on the instances that are live at once.
func (n *numbers) forget() {
	maps.DeleteFunc(n.cohorts, func(_ names, c *cohort) bool {
		if c.count > 0 {
			return false
		}
		c.finish(n.begin) // its numbers are 0
		return true
	})
}

// move counts an instance in another state, and maybe in another cohort; nil: in none.
func (n *numbers) move(from, to *cohort, before, after *traces.State, now moment) {
	ready := func(s *traces.State) int {
		if s.Ready() {
			return 1
		}
		return 0
	}
	if before.Live() {
		n.counted--
		from.count--
		from.seats[seatOf(before)].add(-1, now)
		from.recount(-1, -ready(before), now)
	}
	if after.Live() {
		n.counted++
		to.count++
		to.seats[seatOf(after)].add(1, now)
		to.recount(1, ready(after), now)
	}
}

func (c *cohort) recount(registered, ready int, now moment) {
	for _, g := range c.groups {
		g.settle(now)
		g.count(registered, ready)
	}
}

// finish adds the times of the cohort to its groups.
func (c *cohort) finish(end moment) {
	for i := range c.seats {
		c.seats[i].add(0, end)
		for _, g := range c.groups {
			g.times[i].join(c.seats[i].total)
		}
	}
}

// finish ends the counting at the end of the span.
func (n *numbers) finish(r *Report, end moment, listened int64) {
	for _, c := range n.cohorts {
		c.finish(end)
	}
	r.Total = n.total.finish(end, listened)
	r.Below, r.BelowCount = n.total.periods, n.total.over
	for _, d := range []Dimension{ByService, ByZone, ByVersion} {
		for _, name := range slices.Sorted(maps.Keys(n.groups[d])) {
			r.Groups = append(r.Groups, Group{d, name, n.groups[d][name].finish(end, listened)})
		}
	}
}

// total is a sum of nanoseconds of many instances, in 128 bits.
type total struct{ high, low uint64 }

// add adds a time, once for each of n instances. REQUIRES: neither is negative.
func (t *total) add(nanos int64, n int) {
	high, low := bits.Mul64(uint64(nanos), uint64(n))
	t.join(total{high, low})
}

func (t *total) join(other total) {
	var carry uint64
	t.low, carry = bits.Add64(t.low, other.low, 0)
	t.high, _ = bits.Add64(t.high, other.high, carry)
}

func (t total) sum() Sum {
	seconds, nanos := bits.Div64(t.high, t.low, 1e9)
	return Sum{int64(seconds), int64(nanos)}
}

// times are the listened times of a group's instances by seat.
type times [seats]total

func (t *times) figures() Figures {
	f := Figures{Statuses: map[domain.Status]Sum{}, Traffics: map[domain.Traffic]Sum{}}
	var registered, ready total
	var byStatus [len(traces.Statuses) + 1]total
	var byTraffic [len(traces.Traffics)]total
	for i, at := range t {
		s := traces.State{Details: &traces.Details{}, Status: traces.Status(i / len(traces.Traffics)), Traffic: traces.TrafficState(i % len(traces.Traffics))}
		registered.join(at)
		byStatus[s.Status].join(at)
		byTraffic[s.Traffic].join(at)
		if s.Ready() {
			ready.join(at)
		}
	}
	f.RegisteredTime, f.ReadyTime = registered.sum(), ready.sum()
	for i, name := range traces.Statuses {
		f.Statuses[name] = byStatus[i+1].sum()
	}
	for i, name := range traces.Traffics {
		f.Traffics[name] = byTraffic[i].sum()
	}
	return f
}
