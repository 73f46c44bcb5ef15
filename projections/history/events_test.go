package history_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// Each gives the events of the log that a query picks, and Count counts them.
func TestEachAndCountEqualTheFilteredLog(t *testing.T) {
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, time.Minute}).now
	rng := rand.New(rand.NewPCG(7, 7))
	fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN}
	if err := fleet.Do(ctx, 600); err != nil {
		t.Fatal(err)
	}
	h := open(t, t.TempDir())
	defer h.Close()
	feed(t, h, store, 0, 100)
	var log []eventstore.RecordedEvent
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, e)
	}
	rapid.Check(t, func(t *rapid.T) {
		q := history.Query{Newest: rapid.Bool().Draw(t, "newest")}
		q.Types = rapid.SampledFrom([][]string{nil, {domain.TypeInstanceRegistered}, {domain.TypeHealthChanged, domain.TypeLeaseExpired}}).Draw(t, "types")
		q.Namespace = rapid.SampledFrom([]string{"", "shop"}).Draw(t, "namespace")
		if q.Namespace != "" && rapid.Bool().Draw(t, "in service") {
			q.Service = "cart"
		}
		q.After = eventstore.Position(rapid.IntRange(0, 600).Draw(t, "after"))
		var want, got []eventstore.RecordedEvent
		for _, e := range log {
			if picked(&q, &e) && e.Position > q.After {
				e.ID = uuid.UUID{}
				want = append(want, e)
			}
		}
		err := h.Each(ctx, q, func(e *eventstore.RecordedEvent) bool {
			got = append(got, *e)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if q.Newest {
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range want {
			if !same(&got[i], &want[i]) {
				t.Fatalf("event %+v, want %+v", got[i], want[i])
			}
		}

		bounds := []eventstore.Position{q.After}
		for range rapid.IntRange(1, 6).Draw(t, "buckets") {
			bounds = append(bounds, bounds[len(bounds)-1]+eventstore.Position(rapid.IntRange(0, 300).Draw(t, "width")))
		}
		counts := map[string][]int{}
		for _, e := range want {
			for i := range len(bounds) - 1 {
				if e.Position > bounds[i] && e.Position <= bounds[i+1] {
					if counts[e.Type] == nil {
						counts[e.Type] = make([]int, len(bounds)-1)
					}
					counts[e.Type][i]++
				}
			}
		}
		found, err := h.Count(ctx, history.Counting{Namespace: q.Namespace, Service: q.Service, Types: q.Types}, bounds)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(found, counts) {
			t.Fatalf("counts between %v are %v, want %v", bounds, found, counts)
		}
	})
}

func same(a, b *eventstore.RecordedEvent) bool {
	return a.Position == b.Position && a.Stream == b.Stream && a.Revision == b.Revision && a.Type == b.Type && a.RecordedAt.Equal(b.RecordedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata)
}

// Events of other programs, with whatever they hold, are read as they were written.
func TestEachReadsWhatOtherProgramsWrote(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.Close()
	var want []eventstore.RecordedEvent
	for i, documents := range [][2]string{
		{`{"epoch":1}`, `{"actor":"ann","schema":1}`},
		{`{"metadata":{"a":"1"},"epoch":1}`, `{"actor":"ann"}`},
		{`{"a":{}}`, `{"actor":"ann","metadata":{}}`},
		{`{"a":1}`, `{"x":{"y":1},"metadata":{"metadata":1}}`},
		{`{"metadata":{}}`, `{"x":{},"metadata":{}}`},
		{`{"a":",\"metadata\":"}`, `{"actor":",\"metadata\":"}`},
		{`not JSON`, `{"actor":"ann"}`}, {`{"a":1}`, `not JSON`}, {``, ``}, {`{"data":{"a":1},"data":2}`, `[]`},
	} {
		for _, stream := range []eventstore.StreamName{"instance-default/web/a", `instance-a"b/web/a`, `instance-,"data":/x/y`} {
			p := eventstore.Position(len(want) + 1)
			e := eventstore.RecordedEvent{Stream: stream, Position: p, Revision: eventstore.Revision(i), RecordedAt: began.Add(time.Duration(i))}
			e.EventData = eventstore.EventData{Type: []string{"HealthChanged", `an "odd" type`}[i%2], Data: []byte(documents[0]), Metadata: []byte(documents[1])}
			want = append(want, e)
		}
	}
	if err := h.Apply(want, eventstore.Position(len(want))); err != nil {
		t.Fatal(err)
	}
	var got []eventstore.RecordedEvent
	if err := h.Each(ctx, history.Query{}, func(e *eventstore.RecordedEvent) bool { got = append(got, *e); return true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if !same(&got[i], &want[i]) {
			t.Errorf("event %s %s is %s %s", want[i].Data, want[i].Metadata, got[i].Data, got[i].Metadata)
		}
	}
}

// manyEvents is a history of 200 instances of one service, each event in a batch of its own, as under a steady trickle, or
// in batches.
func manyEvents(b *testing.B, events, batch int) *history.History {
	h := openWhole(b)
	b.Cleanup(func() { h.Close() })
	types := []string{domain.TypeHealthChanged, domain.TypeHealthChanged, domain.TypeTrafficChanged, domain.TypeInstanceUpdated}
	var all []eventstore.RecordedEvent
	for i := range events {
		e := eventstore.RecordedEvent{
			Position: eventstore.Position(i + 1), RecordedAt: began.Add(time.Duration(i) * 24 * time.Hour / time.Duration(events)),
			Stream: eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i%200)}),
		}
		e.EventData = eventstore.EventData{
			ID: uuid.UUID{byte(i)}, Type: types[i%len(types)], Data: []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client","output":"latency over 300 ms"}`),
			Metadata: []byte(`{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":1}`),
		}
		if all = append(all, e); len(all) == batch || i == events-1 {
			if err := h.Apply(all, e.Position); err != nil {
				b.Fatal(err)
			}
			all = all[:0]
		}
	}
	return h
}

// BenchmarkCount is a histogram of a day with 200 buckets. 333,000 events are a day of 10 million in a month.
func BenchmarkCount(b *testing.B) {
	const events = 333_000
	for _, batch := range []int{1, 20} {
		b.Run(fmt.Sprint("batches of ", batch), func(b *testing.B) {
			h := manyEvents(b, events, batch)
			for _, q := range []struct {
				name string
				history.Counting
			}{{"all", history.Counting{}}, {"a service", history.Counting{Namespace: "default", Service: "web"}}} {
				b.Run(q.name, func(b *testing.B) {
					for b.Loop() {
						var times []time.Time
						for i := range 201 {
							times = append(times, began.Add(time.Duration(i)*24*time.Hour/200))
						}
						bounds, err := h.PositionsAt(ctx, times)
						if err != nil {
							b.Fatal(err)
						}
						if _, err := h.Count(ctx, q.Counting, bounds); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// BenchmarkEach is what reading an event takes.
func BenchmarkEach(b *testing.B) {
	const events = 100_000
	h := manyEvents(b, events, 20)
	for b.Loop() {
		if err := h.Each(ctx, history.Query{Namespace: "default", Service: "web"}, func(*eventstore.RecordedEvent) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}
