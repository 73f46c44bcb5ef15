// Package report folds the steps of lifecycle events into what they add up to over a span of time: a report of figures (Fold), and the
// intervals in which the state of each instance stayed the same (Lanes). docs/reports.md defines each figure.
//
// The package does no I/O. The caller gives the instances that were live at the beginning of the span, then the steps of
// the span in the order of their events. Memory depends on the instances that are live at once and on what the answer
// lists, not on the number of events.
package report

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// Start is an instance that is live at the beginning of a span.
type Start struct {
	Key        domain.Key
	State      traces.State
	Registered int64 // when its epoch began, Unix nanoseconds
}

// Interruption is a time in which the registry could not take heartbeats.
type Interruption struct {
	From, To time.Time
	Cause    domain.Deafness
}

// Options say what a report is about.
type Options struct {
	From, To time.Time // REQUIRES: From is before To
	// Least is the number of ready instances below which periods are listed; 0: none are.
	Least int
	// Interruptions are all that may have to do with the span. They may overlap, and reach beyond the span.
	Interruptions []Interruption
}

// The limits of what a report lists. What is not listed is counted.
const (
	MaxPeriods  = 10   // the longest periods below Least
	MaxFlapping = 100  // the instances with the most changes of status
	MaxDeploys  = 1000 // the newest deploys
	MaxGroups   = 1000 // groups of each dimension; instances of further names are counted together, under OtherNames
)

// OtherNames is the name of the group that has what belongs to no other group of a dimension with MaxGroups groups.
const OtherNames = "(others)"

// Report is what the events of a span add up to.
type Report struct {
	From, To time.Time
	Listened time.Duration // of the span: the registry could take heartbeats
	Events   int           // in the span

	Interruptions []Interruption // within the span: disjoint, in order, cut at its ends

	Total  Figures
	Groups []Group // by dimension and name

	Below      []Period // the longest first
	BelowCount int

	Churn       Churn
	Changes     int        // of status, within epochs
	Flapping    []Flapping // the most changes first
	FlappingAll int        // instances that flapped

	Deaths      Deaths
	Deploys     []Deploy // oldest first
	DeploysMade int
}

// Figures are those of a group of instances. Each is over the time in which the registry listened.
type Figures struct {
	Registered, Ready Extent
	RegisteredTime    Sum // of all instances together
	ReadyTime         Sum
	Statuses          map[domain.Status]Sum  // the registered time by status
	Traffics          map[domain.Traffic]Sum // and by traffic state
	Below             time.Duration          // fewer than Least were ready
}

// Extent says how large a number was. Numbers that stood for no time do not count.
type Extent struct {
	Min, Max int
	Mean     float64
}

// Group is the instances that share a name: a zone, a version or a service.
type Group struct {
	Dimension Dimension
	Name      string // "": they have none
	Figures
}

// Dimension says by what instances are grouped.
type Dimension string

// The dimensions.
const (
	ByService Dimension = "service"
	ByZone    Dimension = "zone"
	ByVersion Dimension = "version"
)

// Period is a time in which fewer than Least instances were ready.
type Period struct {
	From, To time.Time
	Lowest   int           // ready
	Deaf     time.Duration // of it: the registry could not take heartbeats
}

// Churn counts the epochs that began and ended in the span.
type Churn struct {
	Registered   int // epochs that began
	Again        int // of these: not the first of their key
	Deregistered int // epochs that ended on request, and for no other cause that is counted here
	Lapsed       int // because of silence
	Replaced     int // because another owner registered the key
	CheckFailed  int // because a check stayed critical
	Crashed      int // because the process ended with an exit code other than 0
	ExitCodes    map[int]int
}

// Ended is the number of epochs that ended.
func (c *Churn) Ended() int {
	return c.Deregistered + c.Lapsed + c.Replaced + c.CheckFailed + c.Crashed
}

// Flapping is an instance whose status changed domain.FlappingChanges times within domain.FlappingWithin.
type Flapping struct {
	Key     domain.Key
	Changes int // of its status, in the span
	Times   int // that it began to flap
}

// Deaths are the ends that nobody asked for: lapses, crashes and removals by a check.
type Deaths struct {
	All       int
	Detected  Delays // from the last sign of life to the lapse, without the time in which the registry did not listen
	Unknown   int    // lapses whose last sign of life is not known
	Recovered int    // lapses after which the instance was heard again
	Replaced  Delays // from the death until another epoch took its place
	Waiting   int    // deaths without a replacement, at the end of the span
}

// Delays sum up times.
type Delays struct {
	Count          int
	Min, Mean, Max time.Duration
}

// Deploy is the arrival of a version in a service.
type Deploy struct {
	Service   domain.ServiceKey
	Version   string
	Replaces  []string // the versions that were there when the deploy began, in order
	From, To  time.Time
	Instances int    // that arrived
	Ready     Extent // instances of the service, from From to To
}
