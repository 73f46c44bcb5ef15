package queries_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/projections/traces"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A report and a timeline of any span, by times or by positions, are a fold of the whole log: the events before the span give
// the states at its beginning, in whatever way the registry finds them.
func TestReportsAndTimelinesOfAnySpanAreAFoldOfTheLog(t *testing.T) {
	r := start(t)
	r.segment = 16 // so that nearly every span crosses many
	settle := r.withHistory()
	rng := rand.New(rand.NewPCG(11, 12))
	now := epoch
	r.store.Now = func() time.Time { return now }
	r.Now = func() time.Time { return now.Add(time.Hour) }
	fleet := eventstoretest.Fleet{Store: r.store, Pick: rng.IntN}
	for range 400 {
		now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
		if err := fleet.Do(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	var log []eventstore.RecordedEvent
	for e, err := range r.store.ReadAll(context.Background(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, e)
	}
	for range 150 {
		q := queries.ReportQuery{Namespace: "default", Below: "2"}
		if rng.IntN(3) > 0 {
			q.Service = "cart"
			if rng.IntN(2) > 0 {
				q.Instance = "i1"
			}
		}
		first, last := rng.IntN(len(log)-1), 0
		last = first + 1 + rng.IntN(len(log)-first-1)
		from, to := log[first].RecordedAt, log[last].RecordedAt
		if !from.Before(to) {
			continue
		}
		before := func(e *eventstore.RecordedEvent) bool { return !e.RecordedAt.After(from) }
		after := func(e *eventstore.RecordedEvent) bool { return e.RecordedAt.After(to) }
		if rng.IntN(2) > 0 {
			q.From, q.To = from.Format(time.RFC3339Nano), to.Format(time.RFC3339Nano)
		} else {
			q.From, q.To = fmt.Sprint(log[first].Position), fmt.Sprint(log[last].Position)
			before = func(e *eventstore.RecordedEvent) bool { return e.Position <= log[first].Position }
			after = func(e *eventstore.RecordedEvent) bool { return e.Position > log[last].Position }
		}
		fold := report.NewFold(report.Options{From: from, To: to, Least: 2})
		lanes := report.NewLanes(from, to, queries.MaxIntervals)
		type start struct {
			domain.Instance
			registered time.Time
		}
		starts := map[domain.Key]start{}
		type step struct {
			of domain.Key
			traces.Step
		}
		var steps []step
		for i := range log {
			e := &log[i]
			k, ok := e.Stream.InstanceKey()
			if !ok || e.IsHeartbeat() || k.Namespace != "default" || q.Service != "" && k.Service != q.Service || q.Instance != "" && k.ID != q.Instance || after(e) {
				continue
			}
			event, err := eventstore.Decode(e)
			if err != nil {
				t.Fatal(err)
			}
			if before(e) {
				s := starts[k]
				s.Key = k
				if _, begins := event.(domain.InstanceRegistered); begins {
					s.registered = e.RecordedAt
				}
				s.Instance = domain.Evolve(s.Instance, event, eventstore.RecordOf(e))
				starts[k] = s
				continue
			}
			steps = append(steps, step{k, traces.Of(e)})
		}
		for _, s := range starts {
			if s.Live() {
				start := report.Start{Key: s.Key, State: traces.StateOf(&s.Instance), Registered: s.registered.UnixNano()}
				fold.Begin(start)
				lanes.Begin(start)
			}
		}
		for i := range steps {
			fold.Apply(fold.Instance(steps[i].of), &steps[i].Step)
			lanes.Apply(lanes.Instance(steps[i].of), &steps[i].Step)
		}
		got, err := r.Report(context.Background(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		want := queries.ShowReport(fold.Report(), 2)
		want.Namespace, want.Service, want.ID, want.Position, want.Notes, want.Heartbeats = q.Namespace, q.Service, q.Instance, got.Position, got.Notes, got.Heartbeats
		equalJSON(t, q, got, want)

		timeline, err := r.Timeline(context.Background(), q, "10000")
		if err != nil {
			t.Fatal(err)
		}
		all, _ := lanes.Lanes()
		if len(all) != len(timeline.Lanes) {
			t.Fatalf("%+v has %d lanes, want %d", q, len(timeline.Lanes), len(all))
		}
		for i, lane := range all {
			shown := timeline.Lanes[i]
			if shown.ID != lane.Key.ID || len(shown.Intervals) != len(lane.Intervals) {
				t.Fatalf("%+v has the lane %+v, want %+v", q, shown, lane)
			}
			for j, in := range lane.Intervals {
				if s := shown.Intervals[j]; !s.From.Equal(in.From) || !s.To.Equal(in.To) || s.Status != in.Status || s.Traffic != in.Traffic || s.Epoch != in.Epoch || (s.Began == nil) != (in.Began == nil) {
					t.Fatalf("%+v has the interval %+v, want %+v", q, s, in)
				}
			}
		}
	}
}

func equalJSON(t *testing.T, q queries.ReportQuery, got, want wire.Report) {
	t.Helper()
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Fatalf("%+v gives\n%s, want\n%s", q, a, b)
	}
}
