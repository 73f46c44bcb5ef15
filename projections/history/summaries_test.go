package history_test

import (
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// However often a history is opened again, is asked, or writes, its hours are those of one that saw all events at once.
func TestHoursAreTheSameAfterEveryStart(t *testing.T) {
	ids := []string{"a", "a1", "a/", "b"}
	rapid.Check(t, func(r *rapid.T) {
		type heard struct {
			hours  map[time.Time]*history.Heartbeats
			last   time.Time // of a heartbeat or a registration; zero: there was none
			epochs eventstore.Revision
		}
		model := map[string]*heard{}
		dir := t.TempDir()
		h := open(t, dir)
		now, position := began, eventstore.Position(0)
		key := func(id string) domain.Key { return domain.Key{Namespace: "default", Service: "web", ID: id} }
		compare := func(id string) {
			got, err := h.Heartbeats(ctx, key(id), time.Time{}, time.Time{})
			if err != nil {
				r.Fatal(err)
			}
			var want []history.Heartbeats
			if m := model[id]; m != nil {
				for hour := began.Truncate(time.Hour); !hour.After(now); hour = hour.Add(time.Hour) {
					if of := m.hours[hour]; of != nil {
						want = append(want, *of)
					}
				}
			}
			if !reflect.DeepEqual(got, want) {
				r.Fatalf("%s has %+v, want %+v", id, got, want)
			}
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(r, "wait")) * rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Minute, 3 * time.Hour}).Draw(r, "unit"))
			which := rapid.IntRange(0, len(ids)-1).Draw(r, "instance")
			id := ids[which]
			m := model[id]
			if m == nil {
				m = &heard{hours: map[time.Time]*history.Heartbeats{}}
				model[id] = m
			}
			e := eventstore.RecordedEvent{Position: position + 1, RecordedAt: now, Stream: eventstore.LifecycleStream(key(id)), Revision: m.epochs, EventData: eventstore.EventData{Data: []byte(`{"epoch":1}`)}}
			what := rapid.SampledFrom([]string{"beat", "beat", "beat", "register", "end", "start", "ask"}).Draw(r, "what")
			if what == "beat" && m.epochs == 0 { // nobody is heard before the first registration
				what = "register"
			}
			switch what {
			case "beat":
				e.Stream, e.Type, e.StreamNumber = eventstore.HeartbeatStream(key(id)), domain.TypeHeartbeatReceived, uint32(rapid.IntRange(0, 1).Draw(r, "numbered")*(which+1))
				hour := m.hours[now.Truncate(time.Hour)]
				if hour == nil {
					hour = &history.Heartbeats{Hour: now.Truncate(time.Hour)}
					m.hours[hour.Hour] = hour
				}
				if hour.Received++; !m.last.IsZero() {
					hour.LongestGap = max(hour.LongestGap, now.Sub(m.last))
				}
				m.last = now
			case "register":
				e.Type = domain.TypeInstanceRegistered
				m.last, m.epochs = now, m.epochs+1
			case "end":
				e.Type = domain.TypeInstanceDeregistered
				m.epochs++
			case "start":
				if err := h.Close(); err != nil {
					r.Fatal(err)
				}
				h = open(t, dir)
				continue
			default:
				compare(id)
				continue
			}
			position++
			if hour := m.hours[now.Truncate(time.Hour)]; hour != nil && e.Type != domain.TypeInstanceDeregistered {
				hour.Last = now // of a heartbeat or of a registration
			}
			if err := h.Apply([]eventstore.RecordedEvent{e}, position); err != nil {
				r.Fatal(err)
			}
		}
		for _, id := range ids {
			compare(id)
		}
		if err := h.Close(); err != nil {
			r.Fatal(err)
		}
	})
}

// Of an instance that was written only the sum is in memory. The next heartbeat goes on with the sum, unless the instance was registered
// since, or has had no heartbeat for hours.
func TestASumAtRestIsTheNewestOne(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.Close()
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	position := eventstore.Position(0)
	tell := func(eventType string, revision eventstore.Revision, after time.Duration) {
		position++
		e := eventstore.RecordedEvent{Position: position, RecordedAt: began.Add(after), Stream: eventstore.LifecycleStream(key), Revision: revision, EventData: eventstore.EventData{Type: eventType, Data: []byte(`{"epoch":1}`)}}
		if eventType == domain.TypeHeartbeatReceived {
			e.Stream, e.StreamNumber = eventstore.HeartbeatStream(key), 7
		}
		if err := h.Apply([]eventstore.RecordedEvent{e}, position); err != nil {
			t.Fatal(err)
		}
	}
	rests := func(summaries, atRest int) {
		t.Helper()
		if h.Summaries() != summaries || h.AtRest() != atRest {
			t.Fatalf("%d summaries and %d sums are in memory, want %d and %d", h.Summaries(), h.AtRest(), summaries, atRest)
		}
	}
	gap := func(hour int, want time.Duration) {
		t.Helper()
		hours, err := h.Heartbeats(ctx, key, time.Time{}, time.Time{})
		if err != nil || len(hours) != hour+1 || hours[hour].LongestGap != want {
			t.Fatalf("the hours are %+v, %v; want a gap of %s in the last of %d", hours, err, want, hour+1)
		}
	}
	tell(domain.TypeInstanceRegistered, 0, -time.Hour)
	rests(1, 0) // in its first hour
	tell(domain.TypeInstanceRegistered, 1, 0)
	tell(domain.TypeHeartbeatReceived, 0, 10*time.Second) // each event here comes long enough after the one before for what is in memory to be written
	rests(0, 1)
	tell(domain.TypeHeartbeatReceived, 1, 30*time.Second)
	rests(0, 1)
	gap(0, 20*time.Second)

	tell(domain.TypeInstanceRegistered, 2, 50*time.Second)
	rests(1, 1) // the sum is older
	tell(domain.TypeInstanceDeregistered, 3, 70*time.Second)
	rests(0, 1)
	tell(domain.TypeInstanceRegistered, 4, 80*time.Second)
	tell(domain.TypeHeartbeatReceived, 2, 90*time.Second)
	rests(0, 1)
	gap(0, 20*time.Second)

	tell(domain.TypeInstanceRegistered, 5, 100*time.Second)
	tell(domain.TypeInstanceDeregistered, 6, 110*time.Second)
	tell(domain.TypeHeartbeatReceived, 3, 121*time.Second) // one that had lost the race against the end
	gap(0, 21*time.Second)

	later := domain.Key{Namespace: "default", Service: "web", ID: "later"}
	key, later = later, key
	tell(domain.TypeInstanceRegistered, 0, 5*time.Hour)
	tell(domain.TypeInstanceRegistered, 1, 5*time.Hour+10*time.Second)
	key = later
	rests(1, 0)
	tell(domain.TypeHeartbeatReceived, 4, 5*time.Hour+20*time.Second)
	gap(1, 5*time.Hour+20*time.Second-121*time.Second)
}

func TestASummaryIsSmall(t *testing.T) {
	if history.SummarySize > 64 {
		t.Errorf("a summary takes %d bytes, which are more than its size class has", history.SummarySize)
	}
}

// What a fleet sent last is written a few seconds later, also if nothing comes any more.
func TestTheSummariesOfASilentFleetAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fleetOf(t, 120)
		h := open(t, filepath.Join(t.TempDir(), "history"))
		stop := running(t, h, store)
		answers(t, h, store)
		key := domain.Key{Namespace: "default", Service: "silent", ID: "a"}
		beat := eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(key), Expected: eventstore.Any(), Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)}}}
		if _, err := store.Append(t.Context(), nil, beat); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := h.Unwritten()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if after := h.Unwritten(); before == 0 || after != 0 {
			t.Errorf("%d summaries are not written, and %d after ten silent seconds", before, after)
		}
		stop()
	})
}

// A fleet that is so large that one write of all its summaries would take megabytes has them written before their time has come, and no sum differs.
func TestTheSummariesOfALargeFleetAreWrittenInParts(t *testing.T) {
	ctx, h := t.Context(), open(t, filepath.Join(t.TempDir(), "history"))
	defer h.Close()
	const fleet = history.FlushSummaries + 100
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	key := func(n int) domain.Key {
		return domain.Key{Namespace: "default", Service: "large", ID: strconv.Itoa(n)}
	}
	position := eventstore.Position(0)
	for round := range 2 {
		most := 0
		for n := range fleet {
			position++
			beat := eventstore.RecordedEvent{
				EventData: eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)}, Stream: eventstore.HeartbeatStream(key(n)),
				StreamNumber: uint32(n + 1), Revision: eventstore.Revision(round), Position: position, RecordedAt: at.Add(time.Duration(round) * time.Second),
			}
			if err := h.Apply([]eventstore.RecordedEvent{beat}, position); err != nil {
				t.Fatal(err)
			}
			most = max(most, h.Unwritten())
		}
		if most >= history.FlushSummaries {
			t.Errorf("in round %d, %d summaries were not written", round, most)
		}
	}
	for _, n := range []int{0, fleet / 2, fleet - 1} {
		hours, err := h.Heartbeats(ctx, key(n), time.Time{}, time.Time{})
		if err != nil || len(hours) != 1 || hours[0].Received != 2 || hours[0].LongestGap != time.Second {
			t.Errorf("of instance %d: %+v, %v", n, hours, err)
		}
	}
}
