package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// State is what a lane shows of a live instance.
type State struct {
	Epoch         uint64
	Owner         string
	Status        domain.Status
	Traffic       domain.Traffic
	Ready         bool
	Zone, Version string
}

func stateOf(s *traces.State) State {
	return State{s.Epoch, s.Owner, s.Status.Name(), s.Traffic.Name(), s.Ready(), s.Zone, s.Version}
}

// Interval is a time in which an instance was live and its State stayed the same.
type Interval struct {
	State
	From, To time.Time
	Began    *traces.Step // nil: the state was so when the span began
	Ended    *traces.Step // nil: it goes on when the lanes end
}

// Lane has the intervals of one instance, in order.
type Lane struct {
	Key       domain.Key
	Intervals []Interval
}

// Lanes collects intervals. The caller gives Begin all instances that are live at the beginning of the span, then Apply the
// steps of the span in order, and then asks for the lanes, once.
type Lanes struct {
	from, to time.Time
	limit    int
	count    int
	lanes    map[domain.Key]*LaneUnderWay
}

// LaneUnderWay is a lane to which intervals are added.
type LaneUnderWay struct {
	lane  Lane
	state traces.State
}

// NewLanes begins lanes of at most limit intervals together, apart from those at the beginning of the span.
func NewLanes(from, to time.Time, limit int) *Lanes {
	return &Lanes{from: from, to: to, limit: limit, lanes: map[domain.Key]*LaneUnderWay{}}
}

// Begin adds an instance that is live at the beginning of the span.
func (l *Lanes) Begin(start Start) {
	of := l.Instance(start.Key)
	of.state = start.State
	of.lane.Intervals = append(of.lane.Intervals, Interval{State: stateOf(&of.state), From: l.from})
}

// Instance is the lane of an instance.
func (l *Lanes) Instance(key domain.Key) *LaneUnderWay {
	of := l.lanes[key]
	if of == nil {
		of = &LaneUnderWay{lane: Lane{Key: key}}
		l.lanes[key] = of
	}
	return of
}

// Apply adds a step of the span. false: the limit is reached, and the lanes are complete up to before the step.
func (l *Lanes) Apply(of *LaneUnderWay, step *traces.Step) bool {
	before, after := &of.state, of.state.After(step)
	if before.Live() == after.Live() && (!after.Live() || stateOf(before) == stateOf(&after)) {
		of.state = after
		return true
	}
	now := at(step.At)
	if after.Live() && l.count == l.limit {
		l.to = now
		return false
	}
	cause := new(traces.Step)
	*cause = *step
	if before.Live() {
		last := &of.lane.Intervals[len(of.lane.Intervals)-1]
		last.To, last.Ended = now, cause
	}
	if after.Live() {
		l.count++
		of.lane.Intervals = append(of.lane.Intervals, Interval{State: stateOf(&after), From: now, Began: cause})
	}
	of.state = after
	return true
}

// Lanes ends the span. upTo is how far the lanes are complete: the end of the span, or where the limit was reached.
func (l *Lanes) Lanes() (all []Lane, upTo time.Time) {
	for _, of := range l.lanes {
		if len(of.lane.Intervals) == 0 {
			continue
		}
		if last := &of.lane.Intervals[len(of.lane.Intervals)-1]; last.Ended == nil {
			last.To = l.to
		}
		all = append(all, of.lane)
	}
	slices.SortFunc(all, func(a, b Lane) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Service, b.Key.Service), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	return all, l.to
}
