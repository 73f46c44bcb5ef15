package report

import (
	"cmp"
	"slices"
)

// group counts instances, and notes which numbers stood for how long. What needs no more than a sum of times is in cohorts.
//
// INVARIANT: everything is noted up to last. The numbers stand from last on.
type group struct {
	clock *clock
	least int
	last  moment

	registered, ready int
	registeredRange   extremes
	readyRange        extremes
	belowTime         int64

	below   struct{ from, to, lowest int64 } // the period below least that is under way, if open
	open    bool
	periods []Period // the longest MaxPeriods that are over
	over    int      // periods that are over

	times times // of cohorts that are over
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

// settle notes the present numbers up to now.
func (g *group) settle(now moment) {
	if now.at <= g.last.at {
		return
	}
	listened := now.listened - g.last.listened
	if listened > 0 {
		g.registeredRange.note(g.registered)
		g.readyRange.note(g.ready)
	}
	if g.ready < g.least {
		g.belowTime += listened
		if !g.open {
			g.open, g.below.from, g.below.lowest = true, g.last.at, int64(g.ready)
		}
		g.below.lowest, g.below.to = min(g.below.lowest, int64(g.ready)), now.at
	} else {
		g.endPeriod()
	}
	g.last = now
}

// endPeriod ends the period that is under way, if there is one.
func (g *group) endPeriod() {
	if !g.open {
		return
	}
	g.open = false
	g.over++
	p := Period{From: at(g.below.from), To: at(g.below.to), Lowest: int(g.below.lowest), Deaf: asDuration(g.clock.deaf(g.below.from, g.below.to))}
	if n := len(g.periods); n == MaxPeriods && p.To.Sub(p.From) <= g.periods[n-1].To.Sub(g.periods[n-1].From) {
		return
	}
	g.periods = append(g.periods, p)
	slices.SortStableFunc(g.periods, func(a, b Period) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
	g.periods = g.periods[:min(len(g.periods), MaxPeriods)]
}

// count adds to the numbers. REQUIRES: g is settled up to the present time.
func (g *group) count(registered, ready int) {
	g.registered += registered
	g.ready += ready
}

// finish ends the counting at the end of the span. listened is how much of the span the registry listened.
func (g *group) finish(end moment, listened int64) Figures {
	g.settle(end)
	g.endPeriod()
	f := g.times.figures()
	f.Registered = Extent{g.registeredRange.min, g.registeredRange.max, f.RegisteredTime.over(listened)}
	f.Ready = Extent{g.readyRange.min, g.readyRange.max, f.ReadyTime.over(listened)}
	f.Below = asDuration(g.belowTime)
	return f
}
