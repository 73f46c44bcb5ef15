package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
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

func stateOf(i *domain.Instance) State {
	return State{i.Epoch, i.Owner, i.Status, i.Traffic, i.Ready(), i.Details.Zone, i.Details.Version}
}

// Interval is a time in which an instance was live and its State stayed the same.
type Interval struct {
	State
	From, To time.Time
	Began    *Event // nil: the state was so when the span began
	Ended    *Event // nil: it goes on when the lanes end
}

// Lane has the intervals of one instance, in order.
type Lane struct {
	Key       domain.Key
	Intervals []Interval
}

// Lanes collects intervals. The caller gives Begin all instances that are live at the beginning of the span, then Apply the
// events of the span in order, and then asks for the lanes, once.
type Lanes struct {
	from, to time.Time
	limit    int
	count    int
	lanes    map[domain.Key]*lane
}

// lane is a Lane under way.
type lane struct {
	Lane
	state domain.Instance
}

// NewLanes begins lanes of at most limit intervals together, apart from those at the beginning of the span.
func NewLanes(from, to time.Time, limit int) *Lanes {
	return &Lanes{from: from, to: to, limit: limit, lanes: map[domain.Key]*lane{}}
}

// Begin adds an instance that is live at the beginning of the span.
func (l *Lanes) Begin(start Start) {
	of := l.lane(start.Key)
	of.state = start.Instance
	of.Intervals = append(of.Intervals, Interval{State: stateOf(&of.state), From: l.from})
}

// Apply adds an event of the span. false: the limit is reached, and the lanes are complete up to before the event.
func (l *Lanes) Apply(e *Event) bool {
	of := l.lane(e.Key)
	before := of.state
	after := domain.Evolve(before, e.Event, domain.Recorded{Actor: e.Actor, At: e.At})
	if before.Live() == after.Live() && (!after.Live() || stateOf(&before) == stateOf(&after)) {
		of.state = after
		return true
	}
	if after.Live() && l.count == l.limit {
		l.to = e.At
		return false
	}
	of.state = after
	if before.Live() {
		last := &of.Intervals[len(of.Intervals)-1]
		last.To, last.Ended = e.At, e
	}
	if after.Live() {
		l.count++
		of.Intervals = append(of.Intervals, Interval{State: stateOf(&after), From: e.At, Began: e})
	}
	return true
}

func (l *Lanes) lane(key domain.Key) *lane {
	of := l.lanes[key]
	if of == nil {
		of = &lane{Lane: Lane{Key: key}, state: domain.Instance{Key: key}}
		l.lanes[key] = of
	}
	return of
}

// Lanes ends the span. upTo is how far the lanes are complete: the end of the span, or where the limit was reached.
func (l *Lanes) Lanes() (all []Lane, upTo time.Time) {
	for _, of := range l.lanes {
		if len(of.Intervals) == 0 {
			continue
		}
		if last := &of.Intervals[len(of.Intervals)-1]; last.Ended == nil {
			last.To = l.to
		}
		all = append(all, of.Lane)
	}
	slices.SortFunc(all, func(a, b Lane) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Service, b.Key.Service), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	return all, l.to
}
