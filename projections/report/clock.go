package report

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// moment is a time, and how long the registry had listened by then.
type moment struct {
	at       int64 // Unix nanoseconds
	listened int64 // nanoseconds, since a time that is the same for all moments of a clock
}

// clock says how much of a time the registry listened. Times are Unix nanoseconds.
//
// INVARIANT: interruptions are disjoint and in order, and before[i] is the length of all interruptions before the i-th.
type clock struct {
	interruptions []Interruption
	before        []int64
}

func newClock(interruptions []Interruption) *clock {
	c := &clock{}
	sorted := slices.Clone(interruptions)
	slices.SortFunc(sorted, func(a, b Interruption) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To))
	})
	total := int64(0)
	for _, i := range sorted {
		if !i.From.Before(i.To) {
			continue
		}
		if n := len(c.interruptions); n > 0 && !c.interruptions[n-1].To.Before(i.From) {
			last := &c.interruptions[n-1]
			if i.To.After(last.To) {
				total += int64(i.To.Sub(last.To))
				last.To = i.To
			}
			continue
		}
		c.interruptions = append(c.interruptions, i)
		c.before = append(c.before, total)
		total += int64(i.To.Sub(i.From))
	}
	return c
}

// deafUpTo is the length of all interruptions before a time.
func (c *clock) deafUpTo(t int64) int64 {
	n := sort.Search(len(c.interruptions), func(i int) bool { return c.interruptions[i].From.UnixNano() >= t })
	if n == 0 {
		return 0
	}
	i := c.interruptions[n-1]
	return c.before[n-1] + min(t, i.To.UnixNano()) - i.From.UnixNano()
}

// deaf is how long the registry did not listen between two times.
func (c *clock) deaf(from, to int64) int64 {
	if len(c.interruptions) == 0 {
		return 0
	}
	return c.deafUpTo(to) - c.deafUpTo(from)
}

// moment is the moment of a time.
func (c *clock) moment(t int64) moment {
	if len(c.interruptions) == 0 {
		return moment{t, t}
	}
	return moment{t, t - c.deafUpTo(t)}
}

// listened is how long the registry listened between two times.
func (c *clock) listened(from, to int64) int64 { return to - from - c.deaf(from, to) }

// within are the interruptions between two times, cut at both.
func (c *clock) within(from, to time.Time) (all []Interruption) {
	for _, i := range c.interruptions {
		if i.From.Before(from) {
			i.From = from
		}
		if i.To.After(to) {
			i.To = to
		}
		if i.From.Before(i.To) {
			all = append(all, i)
		}
	}
	return all
}

// Sum is a sum of the times of many instances. It may be longer than a time.Duration can be. The zero Sum is no time.
type Sum struct{ seconds, nanos int64 }

// add adds a time, once for each of n instances.
func (s *Sum) add(nanos int64, n int) {
	s.seconds += nanos / 1e9 * int64(n)
	s.nanos += nanos % 1e9 * int64(n)
	s.seconds += s.nanos / 1e9
	s.nanos %= 1e9
}

// Seconds is the sum in seconds.
func (s Sum) Seconds() float64 { return float64(s.seconds) + float64(s.nanos)/1e9 }

// over is the sum divided by a time; 0 if there is no time.
func (s Sum) over(nanos int64) float64 {
	if nanos == 0 {
		return 0
	}
	return s.Seconds() / (float64(nanos) / 1e9)
}

func asDuration(nanos int64) time.Duration { return time.Duration(nanos) }

func at(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// delays collects times.
type delays struct {
	Delays
	sum Sum
}

func (d *delays) add(nanos int64) {
	took := time.Duration(nanos)
	if d.Count == 0 {
		d.Min = took
	}
	d.Count++
	d.Min, d.Max = min(d.Min, took), max(d.Max, took)
	d.sum.add(nanos, 1)
}

func (d *delays) result() Delays {
	if d.Count > 0 {
		d.Mean = time.Duration((d.sum.seconds/int64(d.Count))*1e9 + (d.sum.seconds%int64(d.Count)*1e9+d.sum.nanos)/int64(d.Count))
	}
	return d.Delays
}
