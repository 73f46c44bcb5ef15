package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

var (
	statuses = [...]domain.Status{domain.Passing, domain.Warning, domain.Starting, domain.Critical}
	traffics = [...]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}
)

// seat is where an instance is counted.
type seat struct {
	status, traffic int // places in statuses and traffics
	ready           bool
}

// seatOf is the seat of a live instance.
func seatOf(i *domain.Instance) seat {
	return seat{slices.Index(statuses[:], i.Status), slices.Index(traffics[:], i.Traffic), i.Ready()}
}

// group counts instances, and sums up how long each number stood.
//
// INVARIANT: everything is summed up to last. The numbers stand from last on.
type group struct {
	clock *clock
	least int
	last  int64

	registered, ready int
	status            [len(statuses)]int
	traffic           [len(traffics)]int

	registeredTime, readyTime Sum
	statusTime                [len(statuses)]Sum
	trafficTime               [len(traffics)]Sum
	registeredRange           extremes
	readyRange                extremes
	belowTime                 int64

	below   Period // that is under way, if open
	open    bool
	periods []Period // the longest MaxPeriods that are over
	over    int      // periods that are over
}

// extremes are the least and the greatest of some numbers.
type extremes struct {
	min, max int
	any      bool
}

func (e *extremes) note(n int) {
	if !e.any {
		e.min, e.max, e.any = n, n, true
	}
	e.min, e.max = min(e.min, n), max(e.max, n)
}

// settle sums up to a time.
func (g *group) settle(to int64) {
	if to <= g.last {
		return
	}
	listened := g.clock.listened(g.last, to)
	if listened > 0 {
		g.registeredRange.note(g.registered)
		g.readyRange.note(g.ready)
		g.registeredTime.add(listened, g.registered)
		g.readyTime.add(listened, g.ready)
		for i, n := range g.status {
			g.statusTime[i].add(listened, n)
		}
		for i, n := range g.traffic {
			g.trafficTime[i].add(listened, n)
		}
	}
	if g.ready < g.least {
		g.belowTime += listened
		if !g.open {
			g.open, g.below = true, Period{From: at(g.last), Lowest: g.ready}
		}
		g.below.Lowest, g.below.To = min(g.below.Lowest, g.ready), at(to)
	} else {
		g.endPeriod()
	}
	g.last = to
}

// endPeriod ends the period that is under way, if there is one.
func (g *group) endPeriod() {
	if !g.open {
		return
	}
	g.open = false
	g.over++
	g.below.Deaf = time.Duration(g.clock.deaf(g.below.From.UnixNano(), g.below.To.UnixNano()))
	g.periods = append(g.periods, g.below)
	slices.SortStableFunc(g.periods, func(a, b Period) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
	g.periods = g.periods[:min(len(g.periods), MaxPeriods)]
}

// count adds n instances in a seat. REQUIRES: g is settled up to the present time.
func (g *group) count(s seat, n int) {
	g.registered += n
	if s.ready {
		g.ready += n
	}
	if s.status >= 0 {
		g.status[s.status] += n
	}
	if s.traffic >= 0 {
		g.traffic[s.traffic] += n
	}
}

// finish ends the counting at the end of the span. listened is how much of the span the registry listened.
func (g *group) finish(to, listened int64) Figures {
	g.settle(to)
	g.endPeriod()
	f := Figures{
		Registered:     Extent{g.registeredRange.min, g.registeredRange.max, g.registeredTime.over(listened)},
		Ready:          Extent{g.readyRange.min, g.readyRange.max, g.readyTime.over(listened)},
		RegisteredTime: g.registeredTime, ReadyTime: g.readyTime, Below: time.Duration(g.belowTime),
		Statuses: map[domain.Status]Sum{}, Traffics: map[domain.Traffic]Sum{},
	}
	for i, s := range statuses {
		f.Statuses[s] = g.statusTime[i]
	}
	for i, t := range traffics {
		f.Traffics[t] = g.trafficTime[i]
	}
	return f
}
