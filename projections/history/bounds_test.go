package history_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// note applies lifecycle events, a microsecond apart but for those that at moves, in batches of 1,000.
func note(t testing.TB, h *history.History, n int, event func(i int) (key domain.Key, kind, data string, at time.Duration)) {
	t.Helper()
	var batch []eventstore.RecordedEvent
	for i := range n {
		key, kind, data, at := event(i)
		batch = append(batch, eventstore.RecordedEvent{
			Position: h.Position() + eventstore.Position(len(batch)) + 1, Stream: eventstore.LifecycleStream(key), Revision: eventstore.Revision(i),
			RecordedAt: began.Add(at), EventData: eventstore.EventData{ID: uuid.UUID{byte(i), byte(i >> 8), byte(i >> 16)}, Type: kind, Data: []byte(data),
				Metadata: []byte(`{"actor":"ann","via":"http","schema":1}`)},
		})
		if len(batch) == 1000 || i == n-1 {
			if err := h.Apply(batch, batch[len(batch)-1].Position); err != nil {
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

func web(i int) domain.Key {
	return domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(i)}
}

// health is a history of many health changes, one of which in the middle has a reason of its own.
func health(t testing.TB, n int) *history.History {
	t.Helper()
	h := open(t, t.TempDir())
	note(t, h, n, func(i int) (domain.Key, string, string, time.Duration) {
		output := "latency over 300 ms"
		if i == n/2 {
			output = "out of memory"
		}
		return web(i % 100), domain.TypeHealthChanged, `{"epoch":1,"from":"passing","to":"warning","source":"client","output":"` + output + `"}`, time.Duration(i) * time.Microsecond
	})
	return h
}

func TestALongScanIsAnsweredInPagesThatMayHoldNothing(t *testing.T) {
	const n = 60_000
	h := health(t, n)
	defer h.Close()
	for _, newest := range []bool{false, true} {
		q := history.Query{Reason: "Out of MEMORY", Newest: newest, Limit: 10}
		var found []eventstore.Position
		pages, empty := 0, 0
		for {
			page, err := h.Find(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if pages++; len(page.Entries) == 0 {
				empty++
			}
			for _, e := range page.Entries {
				found = append(found, e.Position)
			}
			if !page.More {
				break
			}
			if newest {
				q.Before = page.Next
			} else {
				q.After = page.Next
			}
		}
		if len(found) != 1 || found[0] != n/2+1 || pages < 2 || empty == 0 {
			t.Errorf("newest %v: found %v in %d pages, %d of them empty", newest, found, pages, empty)
		}
	}
}

func TestAPageIsBoundedInEntriesWithoutALimit(t *testing.T) {
	h := health(t, 20_000)
	defer h.Close()
	page, err := h.Find(ctx, history.Query{})
	if err != nil || !page.More || len(page.Entries) < 1000 || len(page.Entries) > 15_000 || page.Next != page.Entries[len(page.Entries)-1].Position {
		t.Errorf("%d entries, more %v, next %d, %v", len(page.Entries), page.More, page.Next, err)
	}
}

func TestAQueryEndsWithItsContextAndWithTheHistory(t *testing.T) {
	h := health(t, 2000)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Find(cancelled, history.Query{Reason: "zzz"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a query of a client that has left gave %v", err)
	}
	if _, err := h.Find(ctx, history.Query{Reason: "zzz"}); err != nil {
		t.Errorf("a client that left took the history with it: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Find(ctx, history.Query{}); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("a closed history gave %v", err)
	}
}

// Between two updates of an instance lie very many health events, which the search for the details before the
// update does not look at.
func TestTheDetailsBeforeAnUpdateAreFoundAcrossManyEvents(t *testing.T) {
	const n = 150_000
	h := open(t, t.TempDir())
	defer h.Close()
	details := `{"epoch":1,"address":"10.0.0.5","status":"passing","ttl":"1m0s"}`
	note(t, h, n, func(i int) (domain.Key, string, string, time.Duration) {
		switch at := time.Duration(i) * time.Microsecond; i {
		case 0:
			return web(1), domain.TypeInstanceRegistered, details, at
		case n - 1:
			return web(1), domain.TypeInstanceUpdated, details, at
		default:
			return web(1), domain.TypeHealthChanged, `{"epoch":1,"from":"passing","to":"warning"}`, at
		}
	})
	page, err := h.Find(ctx, history.Query{Namespace: "default", Service: "web", ID: "1", Newest: true, Limit: 1})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Previous == nil || page.Entries[0].Previous.Position != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestATimeIsFoundAmongManyEventsOfOneSecond(t *testing.T) {
	const n = 50_000
	h := open(t, t.TempDir())
	defer h.Close()
	note(t, h, n, func(i int) (domain.Key, string, string, time.Duration) { // two events each 20 µs, all within a second
		return web(i % 100), domain.TypeHealthChanged, `{"epoch":1,"output":",\"recorded_at\":\"x"}`, time.Duration(i/2) * 20 * time.Microsecond
	})
	for _, c := range []struct {
		at   time.Duration
		want eventstore.Position
	}{{-1, 0}, {0, 2}, {1, 2}, {20 * time.Microsecond, 4}, {30 * time.Microsecond, 4}, {400 * time.Millisecond, 40_002}, {time.Hour, n}} {
		if got, err := h.PositionAt(ctx, began.Add(c.at)); err != nil || got != c.want {
			t.Errorf("at %s the position is %d, want %d (%v)", c.at, got, c.want, err)
		}
	}
	for _, year := range []int{1, 886, 1500, 1650, 1677, 1678, 1969, 1970} {
		if got, err := h.PositionAt(ctx, time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); err != nil || got != 0 {
			t.Errorf("in the year %d the position is %d (%v)", year, got, err)
		}
	}
}

func TestWhatIsGoneTakesNoMemory(t *testing.T) {
	const n = 5000
	h := open(t, t.TempDir())
	defer h.Close()
	position, revisions := eventstore.Position(0), map[eventstore.StreamName]eventstore.Revision{}
	apply := func(stream eventstore.StreamName, number uint32, kind string, at time.Duration) {
		position++
		e := eventstore.RecordedEvent{Position: position, Stream: stream, Revision: revisions[stream], StreamNumber: number, RecordedAt: began.Add(at), EventData: eventstore.EventData{Type: kind, Data: []byte(`{"epoch":1}`)}}
		revisions[stream]++
		if err := h.Apply([]eventstore.RecordedEvent{e}, position); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		apply(eventstore.LifecycleStream(web(i)), 0, domain.TypeInstanceRegistered, time.Duration(i)*time.Millisecond)
		apply(eventstore.HeartbeatStream(web(i)), uint32(i+1), domain.TypeHeartbeatReceived, time.Duration(i)*time.Millisecond)
		if i > 0 { // the first stays
			apply(eventstore.LifecycleStream(web(i)), 0, domain.TypeInstanceDeregistered, time.Duration(i)*time.Millisecond)
		}
	}
	apply(eventstore.HeartbeatStream(web(0)), 1, domain.TypeHeartbeatReceived, time.Minute)
	if got := h.InMemory(); got != 1 {
		t.Errorf("%d summaries are in memory, want 1", got)
	}
	for _, i := range []int{0, 1, n - 1} {
		hours, err := h.Heartbeats(ctx, web(i), time.Time{}, time.Time{})
		if want := uint64(1); err != nil || len(hours) != 1 || i > 0 && hours[0].Received != want || i == 0 && hours[0].Received != 2 {
			t.Errorf("%s has %+v, %v", web(i), hours, err)
		}
	}
	apply(eventstore.LifecycleStream(web(1)), 0, domain.TypeInstanceRegistered, 2*time.Minute)
	apply(eventstore.HeartbeatStream(web(1)), 2, domain.TypeHeartbeatReceived, 2*time.Minute+time.Second)
	if hours, err := h.Heartbeats(ctx, web(1), time.Time{}, time.Time{}); err != nil || len(hours) != 1 || hours[0].Received != 2 {
		t.Errorf("an instance that returned has %+v, %v", hours, err)
	}
}

// BenchmarkFind is what all pages of a query over 100,000 entries take together.
func BenchmarkFind(b *testing.B) {
	const n = 100_000
	h := health(b, n)
	defer h.Close()
	for name, q := range map[string]history.Query{
		"reason":         {Reason: "zzz"},
		"via":            {Via: "zzz"},
		"types":          {Types: []string{domain.TypeLeaseExpired, domain.TypeInstanceDeregistered}},
		"instance-type":  {Namespace: "default", Service: "web", ID: "7", Types: []string{domain.TypeLeaseExpired}},
		"actor-instance": {Actor: "ann", Namespace: "default", Service: "web", ID: "7"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for q := q; ; {
					page, err := h.Find(ctx, q)
					if err != nil {
						b.Fatal(err)
					}
					if !page.More {
						break
					}
					q.After = page.Next
				}
			}
		})
	}
}
