package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Report is what the events of a span add up to (docs/reports.md). Times that are sums are in seconds.
type Report struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service,omitempty"` // "": the report is about the namespace
	ID        string `json:"id,omitempty"`      // "": the report is about the service

	Position Position  `json:"position"` // up to where the history is
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Seconds  float64   `json:"seconds"`  // of the span
	Listened float64   `json:"listened"` // of the span: the registry could take heartbeats
	Events   int       `json:"events"`   // of instances, in the span
	Notes    []string  `json:"notes"`    // what cannot be known, and why

	Interruptions Interruptions `json:"interruptions"`

	Total  ReportFigures `json:"total"`
	Groups []ReportGroup `json:"groups"`

	Below         int           `json:"below"` // the number of ready instances below which periods are listed
	BelowCount    int           `json:"below_count"`
	BelowPeriods  []BelowPeriod `json:"below_periods"` // the longest first
	Churn         ReportChurn   `json:"churn"`
	StatusChanges int           `json:"status_changes"`
	FlappingCount int           `json:"flapping_count"`
	Flapping      []Flapping    `json:"flapping"`
	Deaths        ReportDeaths  `json:"deaths"`
	DeployCount   int           `json:"deploy_count"`
	Deploys       []Deploy      `json:"deploys"` // oldest first
	// Heartbeats are those of an instance; nil: the report is about more than one.
	Heartbeats *ReportHeartbeats `json:"heartbeats,omitempty"`
}

// Interruptions are the times in which the registry could not take heartbeats.
type Interruptions struct {
	Count   int            `json:"count"`
	Seconds float64        `json:"seconds"`
	Newest  []Interruption `json:"newest"` // oldest first
}

// Interruption is a time in which the registry could not take heartbeats.
type Interruption struct {
	From  time.Time       `json:"from"`
	To    time.Time       `json:"to"`
	Cause domain.Deafness `json:"cause"`
}

// Extent says how large a number was.
type Extent struct {
	Min  int     `json:"min"`
	Mean float64 `json:"mean"`
	Max  int     `json:"max"`
}

// ReportFigures are the figures of a group of instances.
type ReportFigures struct {
	Registered        Extent                     `json:"registered"`
	Ready             Extent                     `json:"ready"`
	RegisteredSeconds float64                    `json:"registered_seconds"`
	ReadySeconds      float64                    `json:"ready_seconds"`
	ReadyShare        *float64                   `json:"ready_share"` // of the registered time; null: none was registered
	EnoughShare       *float64                   `json:"enough_share"`
	BelowSeconds      float64                    `json:"below_seconds"`
	Statuses          map[domain.Status]float64  `json:"statuses"`
	Traffic           map[domain.Traffic]float64 `json:"traffic"`
}

// ReportGroup is the figures of the instances that share a service, a zone or a version.
type ReportGroup struct {
	Dimension string `json:"dimension"`
	Name      string `json:"name"`
	ReportFigures
}

// BelowPeriod is a time in which too few instances were ready.
type BelowPeriod struct {
	From         time.Time `json:"from"`
	To           time.Time `json:"to"`
	Seconds      float64   `json:"seconds"`
	Lowest       int       `json:"lowest"`
	NotListening float64   `json:"not_listening"` // seconds of it
}

// ReportChurn counts the epochs that began and ended.
type ReportChurn struct {
	Registered   int         `json:"registered"`
	Again        int         `json:"again"`
	Ended        int         `json:"ended"`
	Deregistered int         `json:"deregistered"`
	Lapsed       int         `json:"lapsed"`
	Replaced     int         `json:"replaced"`
	CheckFailed  int         `json:"check_failed"`
	Crashed      int         `json:"crashed"`
	ExitCodes    map[int]int `json:"exit_codes"`
}

// Flapping is an instance whose status changed very often.
type Flapping struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	Changes   int    `json:"changes"`
	Times     int    `json:"times"`
}

// ReportDeaths are the ends that nobody asked for.
type ReportDeaths struct {
	Count     int    `json:"count"`
	Detection Delays `json:"detection"`
	Unknown   int    `json:"unknown"`
	Recovered int    `json:"recovered"`
	Replaced  Delays `json:"replaced"`
	Waiting   int    `json:"waiting"`
}

// Delays sum up times, in seconds.
type Delays struct {
	Count int     `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	Max   float64 `json:"max"`
}

// Deploy is the arrival of a version.
type Deploy struct {
	Namespace string    `json:"namespace"`
	Service   string    `json:"service"`
	Version   string    `json:"version"`
	Replaces  []string  `json:"replaces"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Seconds   float64   `json:"seconds"`
	Instances int       `json:"instances"`
	Ready     Extent    `json:"ready"`
}

// ReportHeartbeats sum up an instance's heartbeats of whole hours.
type ReportHeartbeats struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Received   uint64    `json:"received"`
	LongestGap float64   `json:"longest_gap"` // seconds
}

// Timeline has the intervals in which the state of each instance stayed the same.
type Timeline struct {
	Namespace  string    `json:"namespace"`
	Service    string    `json:"service"`
	Position   Position  `json:"position"` // up to where the history is
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	CompleteTo time.Time `json:"complete_to"` // earlier than To where the limit was reached: ask from there on
	Lanes      []Lane    `json:"lanes"`
}

// Lane has the intervals of one instance.
type Lane struct {
	ID        string     `json:"id"`
	Intervals []Interval `json:"intervals"`
}

// Interval is a time in which an instance was registered and its state stayed the same.
type Interval struct {
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Epoch   uint64         `json:"epoch"`
	Owner   string         `json:"owner,omitempty"`
	Status  domain.Status  `json:"status"`
	Traffic domain.Traffic `json:"traffic"`
	Ready   bool           `json:"ready"`
	Zone    string         `json:"zone,omitempty"`
	Version string         `json:"version,omitempty"`
	Began   *Cause         `json:"began,omitempty"` // absent: it was so at the beginning of the span
	Ended   *Cause         `json:"ended,omitempty"` // absent: it goes on at complete_to
}

// Cause is the event that began or ended an interval.
type Cause struct {
	Position Position `json:"position"`
	Type     string   `json:"type"`
	Actor    string   `json:"actor,omitempty"`
	Summary  string   `json:"summary"`
}

// Histogram counts events by type in equal parts of a span.
type Histogram struct {
	Position Position         `json:"position"` // up to where the history is
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Buckets  []time.Time      `json:"buckets"` // when each begins
	Total    int              `json:"total"`
	Types    map[string][]int `json:"types"` // the numbers of each type that has events, by bucket
}
