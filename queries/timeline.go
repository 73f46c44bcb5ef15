package queries

import (
	"context"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/projections/traces"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The limits of timelines and histograms.
const (
	DefaultIntervals = 1000
	MaxIntervals     = 10_000
	DefaultBuckets   = 100
	MaxBuckets       = 1000
)

// Timeline gives the intervals in which the state of each instance of a service stayed the same. limit is how many begin in
// the span at most; "": DefaultIntervals.
func (s *Service) Timeline(ctx context.Context, q ReportQuery, limit string) (wire.Timeline, error) {
	most, err := ParseNumber("limit", limit, DefaultIntervals, 1, MaxIntervals)
	if err != nil {
		return wire.Timeline{}, err
	}
	span, err := s.reportSpan(ctx, q.From, q.To)
	if err != nil {
		return wire.Timeline{}, err
	}
	if err := s.refuseUnreported(ctx, q); err != nil {
		return wire.Timeline{}, err
	}
	position := s.History.Position()
	lanes := report.NewLanes(span.from, span.to, int(most))
	if _, err := foldSpan(ctx, s, q, span, lanes.Begin, lanes.Instance, lanes.Apply); err != nil {
		return wire.Timeline{}, err
	}
	all, upTo := lanes.Lanes()
	shown := wire.Timeline{
		Namespace: q.Namespace, Service: q.Service, Position: s.At(position), From: span.from, To: span.to, CompleteTo: upTo.UTC(), Lanes: []wire.Lane{},
	}
	causes, err := s.causes(ctx, all)
	if err != nil {
		return wire.Timeline{}, err
	}
	for _, lane := range all {
		of := wire.Lane{ID: lane.Key.ID}
		for _, i := range lane.Intervals {
			of.Intervals = append(of.Intervals, wire.Interval{
				From: i.From.UTC(), To: i.To.UTC(), Epoch: i.Epoch, Owner: i.Owner, Status: i.Status, Traffic: i.Traffic, Ready: i.Ready, Zone: i.Zone, Version: i.Version,
				Began: causes(i.Began), Ended: causes(i.Ended),
			})
		}
		shown.Lanes = append(shown.Lanes, of)
	}
	return shown, nil
}

// causes reads the events that began and ended intervals, each once.
func (s *Service) causes(ctx context.Context, lanes []report.Lane) (of func(*traces.Step) *wire.Cause, err error) {
	var leaves []int64
	for _, lane := range lanes {
		for _, i := range lane.Intervals {
			for _, step := range []*traces.Step{i.Began, i.Ended} {
				if step != nil {
					leaves = append(leaves, step.Leaf)
				}
			}
		}
	}
	slices.Sort(leaves)
	events, err := s.History.EventsAt(ctx, slices.Compact(leaves))
	if err != nil {
		return nil, err
	}
	timelines := s.Timelines()
	return func(step *traces.Step) *wire.Cause {
		if step == nil {
			return nil
		}
		recorded := events[step.Leaf]
		cause := &wire.Cause{Position: at(timelines, recorded.Position), Type: recorded.Type, Actor: history.ActorOf(recorded)}
		if event, err := eventstore.Decode(recorded); err == nil { // else there would be no step
			cause.Summary = Words(event, recorded.RecordedAt)
		}
		return cause
	}, nil
}

// HistogramQuery picks the events that a histogram counts.
type HistogramQuery struct {
	Selection // without heartbeats and instances
	From, To  string
	Buckets   string // a number; "": DefaultBuckets
}

// Histogram counts events by type in equal parts of a span. An event at the beginning of a bucket belongs to it; one at the
// end of the span belongs to the last.
func (s *Service) Histogram(ctx context.Context, q HistogramQuery) (h wire.Histogram, err error) {
	buckets, err := ParseNumber("buckets", q.Buckets, DefaultBuckets, 1, MaxBuckets)
	if err != nil {
		return h, err
	}
	of := HistoryQuery{Selection: q.Selection}
	if err := of.refuseImpossibleTypes(); err != nil {
		return h, err
	}
	if q.Service != "" && q.Namespace == "" {
		q.Namespace = domain.DefaultNamespace
	}
	span, err := s.reportSpan(ctx, q.From, q.To)
	if err != nil {
		return h, err
	}
	if q.Namespace != "" {
		if err := s.refuseUnreported(ctx, ReportQuery{Namespace: q.Namespace, Service: q.Service}); err != nil {
			return h, err
		}
	}
	h = wire.Histogram{Position: s.At(s.History.Position()), From: span.from, To: span.to, Types: map[string][]int{}}
	length := span.to.Sub(span.from)
	var ends []time.Time // the last moments that do not belong to the bucket that begins then
	for i := range int(buckets) {
		// The product of the length and the number may be too long for a Duration.
		begin := span.from.Add(length/time.Duration(buckets)*time.Duration(i) + length%time.Duration(buckets)*time.Duration(i)/time.Duration(buckets))
		h.Buckets = append(h.Buckets, begin)
		ends = append(ends, begin.Add(-1))
	}
	bounds, err := s.History.PositionsAt(ctx, append(ends, span.to))
	if err != nil {
		return h, err
	}
	h.Types, err = s.History.Count(ctx, history.Counting{Namespace: q.Namespace, Service: q.Service, Types: q.Types}, bounds)
	for _, numbers := range h.Types {
		for _, n := range numbers {
			h.Total += n
		}
	}
	return h, err
}
