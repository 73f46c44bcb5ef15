package queries

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/projections/traces"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ReportQuery asks for a report on an instance, a service or a namespace.
type ReportQuery struct {
	Namespace string
	Service   string // "": the namespace
	Instance  string // "": the service
	From, To  string // moments; To "": now
	Below     string // a number; "": 1
}

// MaxBelow is the greatest number of ready instances that a report may ask for.
const MaxBelow = 1_000_000

// reportSpan is a span of a report. It has a beginning and an end, which differ.
type reportSpan struct {
	from, to time.Time
	after    eventstore.Position // the state at the beginning has all events up to here
	upTo     eventstore.Position // the newest lifecycle event of the span, or one before the span
	notes    []string            // what the bounds leave open
}

// reportSpan reads the bounds of a report. A span without a beginning, and one that ends before the first event, are refused.
func (s *Service) reportSpan(ctx context.Context, from, to string) (span reportSpan, err error) {
	if from == "" {
		return span, domain.InvalidField{Field: "from", Rule: "must be given: " + `an RFC 3339 time, a position or "5m ago"`}
	}
	if to == "" {
		to = "now"
	}
	begin, end, err := s.moments(ctx, from, to)
	if err != nil {
		return span, err
	}
	if err := s.historyUpToDate(ctx); err != nil {
		return span, err
	}
	if span.from, err = s.timeOf(ctx, &begin, &span); err != nil {
		return span, err
	}
	if span.to, err = s.timeOf(ctx, &end, &span); err != nil {
		return span, err
	}
	if !span.from.Before(span.to) {
		return span, domain.InvalidField{Field: "from", Rule: fmt.Sprintf("must be before to: the span would be from %s to %s", span.from.Format(time.RFC3339Nano), span.to.Format(time.RFC3339Nano))}
	}
	span.after, span.upTo = begin.Position, end.Position
	first, any, err := s.History.First(ctx)
	switch {
	case err != nil:
		return span, err
	case !any:
		return span, domain.InvalidField{Field: "to", Rule: "must be after the first event: there is none yet"}
	case !first.RecordedAt.Before(span.to):
		return span, domain.InvalidField{Field: "to", Rule: "must be after the first event, which was recorded at " + first.RecordedAt.UTC().Format(time.RFC3339Nano)}
	case span.from.Before(first.RecordedAt):
		span.from, span.after = first.RecordedAt.UTC(), 0
		span.notes = append(span.notes, "The first event was recorded at "+span.from.Format(time.RFC3339Nano)+". Nothing is known of the time before, so the span begins there.")
	}
	return span, nil
}

// timeOf is the time of a moment. A position has the time of its event. If that event is not kept any more, as an old
// heartbeat, the position has the time of the next event, and a note of the span says so.
func (s *Service) timeOf(ctx context.Context, m *Moment, span *reportSpan) (time.Time, error) {
	if !m.Time.IsZero() {
		return m.Time.UTC(), nil
	}
	when := s.Now().UTC()
	for e, err := range s.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: max(m.Position, 1) - 1, Limit: 1}) {
		if err != nil {
			return when, err
		}
		when = e.RecordedAt.UTC()
		if e.Position == m.Position || m.Position == 0 {
			return when, nil
		}
	}
	span.notes = append(span.notes, fmt.Sprintf("No event is kept at position %d: heartbeats are kept for a limited time. The position stands for %s, when the next event that is kept was recorded.",
		m.Position, when.Format(time.RFC3339Nano)))
	return when, nil
}

// Report makes a report.
func (s *Service) Report(ctx context.Context, q ReportQuery) (r wire.Report, err error) {
	below, err := ParseNumber("below", q.Below, 1, 1, MaxBelow)
	if err != nil {
		return r, err
	}
	span, err := s.reportSpan(ctx, q.From, q.To)
	if err != nil {
		return r, err
	}
	if err := s.refuseUnreported(ctx, q); err != nil {
		return r, err
	}
	interruptions, err := s.interruptions(ctx, span)
	if err != nil {
		return r, err
	}
	fold := report.NewFold(report.Options{From: span.from, To: span.to, Least: int(below), Interruptions: interruptions})
	position := s.History.Position()
	unread, err := foldSpan(ctx, s, q, span, fold.Begin, fold.Instance, func(of *report.Instance, step *traces.Step) bool {
		fold.Apply(of, step)
		return true
	})
	if err != nil {
		return r, err
	}
	r = showReport(fold.Report(), int(below))
	r.Position = s.At(position)
	r.Namespace, r.Service, r.ID = q.Namespace, q.Service, q.Instance
	if q.Instance != "" {
		if r.Heartbeats, err = s.reportHeartbeats(ctx, q, span); err != nil {
			return r, err
		}
	}
	r.Notes = s.reportNotes(&r, span, unread)
	return r, nil
}

// reportNotes say what the figures cannot tell.
func (s *Service) reportNotes(r *wire.Report, span reportSpan, unread int) []string {
	notes := notNil(span.notes)
	if unread > 0 {
		notes = append(notes, fmt.Sprintf("%d events were written by another program or a newer version and cannot be read. They are left out.", unread))
	}
	if r.Interruptions.Count > 0 {
		notes = append(notes, fmt.Sprintf("The registry could not take heartbeats for %s of the span. That time counts in no figure, except where a figure says so.",
			Spaced(time.Duration(r.Interruptions.Seconds*float64(time.Second)))))
	}
	if r.Deaths.Unknown > 0 {
		notes = append(notes, fmt.Sprintf("The events of %d lapses do not say when the instance was last heard. They are not in the times of detection, and each counts as a death at its lapse.", r.Deaths.Unknown))
	}
	if r.Heartbeats != nil {
		notes = append(notes, "Single heartbeats are kept for a limited time, and their sums by the hour for ever. So the heartbeats are those of whole hours.")
	}
	return notes
}

// refuseUnreported refuses a report on what never was.
func (s *Service) refuseUnreported(ctx context.Context, q ReportQuery) error {
	find := history.Query{Namespace: q.Namespace, Service: q.Service, ID: q.Instance}
	if q.Service != "" {
		return s.refuseNever(ctx, &HistoryQuery{Selection: Selection{Namespace: q.Namespace, Service: q.Service, Instance: q.Instance}}, &find)
	}
	find.Limit = 1
	any, err := s.History.Find(ctx, find)
	if err != nil || len(any.Entries) > 0 || any.More {
		return err
	}
	return domain.InvalidField{Field: "namespace", Rule: "must be a namespace that had an instance at some time, which " + q.Namespace + " had not"}
}

// tracing picks what a report is about.
func (q *ReportQuery) tracing(span reportSpan) history.Tracing {
	return history.Tracing{Namespace: q.Namespace, Service: q.Service, ID: q.Instance, After: span.after, UpTo: span.upTo}
}

// foldSpan gives the instances that were live at the beginning of a span to begin, and the steps of the span to apply, until
// apply gives false. unread counts events that cannot be read.
func foldSpan[I any](ctx context.Context, s *Service, q ReportQuery, span reportSpan, begin func(report.Start), instance func(domain.Key) I, apply func(I, *traces.Step) bool) (unread int, err error) {
	if q.Instance != "" {
		err = s.instanceAt(ctx, domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.Instance}, span.after, begin)
	} else {
		err = s.instancesAt(ctx, q, span.after, begin)
	}
	if err != nil {
		return 0, err
	}
	err = history.Trace(ctx, s.History, q.tracing(span), instance, func(of I, step *traces.Step) bool {
		if step.Kind == traces.Unread {
			unread++
			return true
		}
		return apply(of, step)
	})
	return unread, err
}

// instancesAt gives the instances of a service or a namespace that were live when the event at a position had happened.
func (s *Service) instancesAt(ctx context.Context, q ReportQuery, at eventstore.Position, begin func(report.Start)) error {
	if at == 0 {
		return nil
	}
	past, err := s.Past.At(ctx, at)
	if err != nil {
		return err
	}
	give := func(e *catalog.Entry) {
		i := e.Instance()
		begin(report.Start{Key: i.Key, State: traces.StateOf(&i), Registered: e.RegisteredAt().UnixNano()})
	}
	if q.Service != "" {
		for _, e := range past.View(domain.ServiceKey{Namespace: q.Namespace, Service: q.Service}).Entries {
			give(e)
		}
		return nil
	}
	past.All(func(e *catalog.Entry) bool {
		if e.Service().Namespace == q.Namespace {
			give(e)
		}
		return true
	})
	return nil
}

// instanceAt is instancesAt for one instance. It reads no catalog.
func (s *Service) instanceAt(ctx context.Context, key domain.Key, at eventstore.Position, begin func(report.Start)) error {
	if at == 0 {
		return nil
	}
	state, registered, err := s.History.StateAt(ctx, key, at)
	if err == nil && state.Live() {
		begin(report.Start{Key: key, State: state, Registered: registered})
	}
	return err
}

// interruptions are those that may have to do with a span: within it, or up to the longest ttl before it. An interruption
// is recorded when it is over, so all later events are read, too; they are few.
func (s *Service) interruptions(ctx context.Context, span reportSpan) (all []report.Interruption, err error) {
	since := span.from.Add(-domain.MaxTTL)
	after, err := s.History.PositionAt(ctx, since.Add(-1))
	if err != nil {
		return nil, err
	}
	err = s.History.Each(ctx, history.Query{Types: []string{domain.TypeListeningInterrupted}, After: after}, func(e *eventstore.RecordedEvent) bool {
		event, err := eventstore.Decode(e)
		if i, ok := event.(domain.ListeningInterrupted); err == nil && ok && i.From.Before(span.to) && i.To.After(since) {
			all = append(all, report.Interruption{From: i.From, To: i.To, Cause: i.Cause})
		}
		return true
	})
	if s.Listening != nil { // one that is not over has no event yet
		if since, cause, deaf := s.Listening.DeafSince(); deaf && s.recorded(since).Before(span.to) {
			all = append(all, report.Interruption{From: s.recorded(since), To: span.to, Cause: cause})
		}
	}
	return all, err
}

// reportHeartbeats sum up the heartbeats of the hours that a span touches; nil: there are none.
func (s *Service) reportHeartbeats(ctx context.Context, q ReportQuery, span reportSpan) (*wire.ReportHeartbeats, error) {
	key := domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.Instance}
	hours, err := s.History.Heartbeats(ctx, key, span.from, span.to)
	if err != nil {
		return nil, err
	}
	sum := &wire.ReportHeartbeats{From: span.from.Truncate(time.Hour), To: span.to.Add(time.Hour - 1).Truncate(time.Hour)}
	for _, h := range hours {
		sum.Received += h.Received
		sum.LongestGap = max(sum.LongestGap, h.LongestGap.Seconds())
	}
	return sum, nil
}
