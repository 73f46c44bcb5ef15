package queries

import (
	"time"

	"github.com/rollcall-registry/rollcall/projections/leases"
)

// recorded is a moment of this process's clock in the time as the store records it now. What this process measures, it
// measures by its monotonic clock: the wall time of such a moment is that of before the last step of the wall clock.
func (s *Service) recorded(moment time.Time) time.Time {
	return inTimeOf(s.now(), s.Live.Now(), moment)
}

// inTimeOf is a moment in the time of another clock. now is the same moment by both: recorded by the other clock. The two clocks are read one
// after the other, so a difference below a tick is none: equal queries get equal answers.
func inTimeOf(recorded, now, moment time.Time) time.Time {
	step := recorded.Round(0).Sub(moment.Add(now.Sub(moment)).Round(0)) // the wall clock's, since the wall time of the moment was read
	return moment.Round(0).Add(step.Round(leases.Tick)).UTC()
}

// leaseEnds shows when leases end, as recorded shows moments. Many instances of one reply take one look at the clocks.
type leaseEnds struct {
	table   *leases.Table
	now, at time.Time // one moment: by this process's clock, and as the store records it
}

func (s *Service) leaseEnds() *leaseEnds {
	return &leaseEnds{table: s.Live.Leases(), now: s.Live.Now(), at: s.now()}
}

func (e *leaseEnds) recorded(moment time.Time) time.Time { return inTimeOf(e.at, e.now, moment) }
