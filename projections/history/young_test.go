package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// While events are applied, and what is young is written now and then, every reader finds each event once, up to some event.
func TestAReaderFindsEachEventOnceWhileTheyAreWritten(t *testing.T) {
	const n = 800
	h := open(t, t.TempDir())
	defer h.Close()
	applying, applied := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, q := range []history.Query{
		{}, {Newest: true}, {Namespace: "default", Service: "web"}, {Namespace: "default", Service: "web", Newest: true},
		{Namespace: "default", Service: "web", ID: "1"}, {Namespace: "default", Service: "web", ID: "1", Newest: true},
		{Namespace: "default", Service: "web", ID: "1", Types: []string{domain.TypeInstanceUpdated}, Newest: true},
	} {
		every, step := 1, 1
		if q.ID != "" {
			step = 10
		}
		if len(q.Types) > 0 {
			every = 20
		}
		all.Go(func() {
			for last := false; !last; {
				last = applying.Err() != nil // then this round finds everything
				from := h.Position()
				var found []eventstore.Position
				if err := h.Each(ctx, q, func(e *eventstore.RecordedEvent) bool { found = append(found, e.Position); return true }); err != nil {
					t.Error(err)
					return
				}
				if q.Newest {
					for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
						found[i], found[j] = found[j], found[i]
					}
				}
				for i := 1; i < len(found); i++ {
					if found[i] != found[i-1]+eventstore.Position(max(step, every)) {
						t.Errorf("%+v: %d follows %d", q, found[i], found[i-1])
						return
					}
				}
				if newest := eventstore.Position(0); len(found) > 0 {
					newest = found[len(found)-1]
					if newest+eventstore.Position(max(step, every)) <= from {
						t.Errorf("%+v: the newest is %d, although %d had been applied", q, newest, from)
					}
				}
				if last && len(found) != n/max(step, every) {
					t.Errorf("%+v finds %d of %d events", q, len(found), n/max(step, every))
				}
			}
		})
	}
	all.Go(func() {
		for last := false; !last; {
			last = applying.Err() != nil
			from := h.Position()
			counts, err := h.Count(ctx, history.Counting{Namespace: "default", Service: "web"}, []eventstore.Position{0, 100, n})
			sum := 0
			for _, numbers := range counts {
				sum += numbers[0] + numbers[1]
			}
			// The types are counted one after the other, so their sum may be between two states.
			if err != nil || sum < int(from) || last && sum != n {
				t.Errorf("%d events are counted, at least %d had been applied: %v", sum, from, err)
			}
			if _, err := h.Root(h.Leaves()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for last := false; !last; {
			last = applying.Err() != nil
			from := h.Position()
			found := eventstore.Position(0)
			err := history.Trace(ctx, h, history.Tracing{Namespace: "default", Service: "web", UpTo: n}, func(k domain.Key) domain.Key { return k }, func(_ domain.Key, step *traces.Step) bool {
				if found++; step.Leaf+1 != int64(found) {
					t.Errorf("the step of leaf %d is the %dth", step.Leaf, found)
					return false
				}
				return true
			})
			if err != nil || found < from || last && found != n {
				t.Errorf("%d steps are traced, at least %d events had been applied: %v", found, from, err)
				return
			}
		}
	})
	position := eventstore.Position(0)
	for position < n {
		var batch []eventstore.RecordedEvent
		for range 7 + position%5 {
			if position++; position > n {
				position = n
				break
			}
			kind := domain.TypeHealthChanged
			if position%20 == 1 {
				kind = domain.TypeInstanceUpdated
			}
			batch = append(batch, eventstore.RecordedEvent{
				Position: position, Stream: eventstore.LifecycleStream(web(int(position % 10))), Revision: eventstore.Revision(position),
				RecordedAt: began.Add(time.Duration(position) * 150 * time.Millisecond),
				EventData:  eventstore.EventData{ID: uuid.UUID{1}, Type: kind, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"ann","schema":2}`)},
			})
		}
		if err := h.Apply(batch, position); err != nil {
			t.Fatal(err)
		}
		at := began.Add(time.Duration(position-1) * 150 * time.Millisecond)
		if got, err := h.PositionAt(ctx, at); err != nil || got != position-1 {
			t.Fatalf("the position at %s is %d, want %d (%v)", at, got, position-1, err)
		}
	}
	applied()
	all.Wait()
}

// A reader that is on its way keeps what it read, however many blocks become full meanwhile.
func TestAReaderKeepsTheOpenBlockWhileLaterOnesAreFilled(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.Close()
	applied := eventstore.Position(0)
	apply := func(n int) {
		var batch []eventstore.RecordedEvent
		for range n {
			applied++
			batch = append(batch, eventstore.RecordedEvent{
				Position: applied, Stream: eventstore.LifecycleStream(web(int(applied % 10))), Revision: eventstore.Revision(applied), RecordedAt: began,
				EventData: eventstore.EventData{ID: uuid.UUID{1}, Type: domain.TypeHealthChanged, Data: fmt.Appendf(nil, `{"epoch":%d}`, applied), Metadata: []byte(`{"schema":2}`)},
			})
		}
		if err := h.Apply(batch, applied); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 5 {
		apply(300) // the blocks that nobody reads become full; the memory of the last one is used again
		apply(10 + round)
		upTo, found := applied, eventstore.Position(0)
		err := h.Each(ctx, history.Query{Before: upTo + 1}, func(e *eventstore.RecordedEvent) bool {
			if found++; found == upTo-5 {
				apply(300)
			}
			if want := fmt.Sprintf(`{"epoch":%d}`, found); e.Position != found || string(e.Data) != want {
				t.Errorf("the %dth event is %d, with %s", found, e.Position, e.Data)
			}
			return true
		})
		if err != nil || found != upTo {
			t.Fatalf("%d events were found, want %d (%v)", found, upTo, err)
		}
	}
}

// The metadata of an entry is what decoding it gives.
func TestMetadataOfEntriesIsWhatDecodingGives(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.Close()
	documents := []string{
		`{"actor":"ann","source":"10.1.2.3","via":"http","request_id":"r-1","schema":2}`, `{"schema":1}`, `{}`, `{"actor":"ann"}`, `{"actor":"a\"b","schema":1}`,
		`{"actor":"ann","reverts":"x","reason":"wrong, very wrong: {","forced":"p","schema":2}`, `{"actor":"ann","else":1,"schema":2}`, `{"actor":null,"schema":2}`,
		`{ "actor":"ann"}`, `{"Actor":"ann","schema":2}`, `{"actor":"ann","actor":"bob"}`, `{"actor":"ähm","schema":2}`, "{\"actor\":\"\xff\",\"schema\":2}", `{"schema":1,"actor":"ann"}`,
		`{"actor":{"a":"b"}}`, `[]`, `null`, `{"schema":"2"}`, `{"schema":99999999999999999999}`, `{"actor":"ann","schema":1e2}`,
	}
	var events []eventstore.RecordedEvent
	for i, d := range documents {
		events = append(events, eventstore.RecordedEvent{Position: eventstore.Position(i + 1), Stream: "registry", Revision: eventstore.Revision(i), RecordedAt: began,
			EventData: eventstore.EventData{ID: uuid.UUID{byte(i)}, Type: "Noted", Data: []byte(`{}`), Metadata: []byte(d)}})
	}
	if err := h.Apply(events, eventstore.Position(len(events))); err != nil {
		t.Fatal(err)
	}
	page, err := h.Find(ctx, history.Query{})
	if err != nil || len(page.Entries) != len(documents) {
		t.Fatal(page, err)
	}
	for i, e := range page.Entries {
		var want domain.Metadata
		_ = json.Unmarshal([]byte(documents[i]), &want)
		if e.Metadata != want || e.ID != (uuid.UUID{byte(i)}) || e.Leaf != int64(i) {
			t.Errorf("%s is %s, want %s", documents[i], fmt.Sprintf("%+v", e.Metadata), fmt.Sprintf("%+v", want))
		}
	}
}
