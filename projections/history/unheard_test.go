package history_test

import (
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// The folder has no sum of an instance before its first heartbeat, and the gap before that heartbeat begins with the registration all the
// same: whether the registration is still in memory, or was read by a process that ended since, or is hours ago.
func TestTheFirstGapBeginsWithTheRegistration(t *testing.T) {
	key, other := domain.Key{Namespace: "default", Service: "web", ID: "a"}, domain.Key{Namespace: "default", Service: "web", ID: "b"}
	for name, meanwhile := range map[string]func(h *history.History, dir string) *history.History{
		"in memory":     func(h *history.History, _ string) *history.History { return h },
		"after a start": again(t),
		"after a start, in a folder of before": func(h *history.History, dir string) *history.History {
			if err := h.WriteSum(key.String(), began); err != nil {
				t.Fatal(err)
			}
			if err := h.SetFormat(4); err != nil {
				t.Fatal(err)
			}
			return again(t)(h, dir)
		},
	} {
		for _, wait := range []time.Duration{10 * time.Second, 5 * time.Hour} {
			t.Run(name+" "+wait.String(), func(t *testing.T) {
				dir := t.TempDir()
				h := open(t, dir)
				position := eventstore.Position(0)
				tell := func(stream eventstore.StreamName, eventType string, after time.Duration) {
					position++
					e := eventstore.RecordedEvent{Position: position, RecordedAt: began.Add(after), Stream: stream, EventData: eventstore.EventData{Type: eventType, Data: []byte(`{"epoch":1}`)}}
					if err := h.Apply([]eventstore.RecordedEvent{e}, position); err != nil {
						t.Fatal(err)
					}
				}
				sums := func(want int) {
					t.Helper()
					if n, err := h.Sums(); err != nil || n != want {
						t.Fatalf("there are %d sums on disk, %v; want %d", n, err, want)
					}
				}
				tell(eventstore.LifecycleStream(key), domain.TypeInstanceRegistered, 0)
				tell(eventstore.LifecycleStream(other), domain.TypeInstanceRegistered, 6*time.Second)
				sums(0)
				leaves := h.Leaves()
				h = meanwhile(h, dir)
				defer func() { h.Close() }()
				if h.Leaves() != leaves {
					t.Fatalf("it has %d leaves, not %d", h.Leaves(), leaves)
				}
				tell(eventstore.HeartbeatStream(other), domain.TypeHeartbeatReceived, wait-time.Second)
				tell(eventstore.HeartbeatStream(key), domain.TypeHeartbeatReceived, wait)
				hours, err := h.Heartbeats(ctx, key, time.Time{}, time.Time{})
				if err != nil || len(hours) != 1 || hours[0].LongestGap != wait || hours[0].Received != 1 {
					t.Fatalf("the hours are %+v, %v; want one with a gap of %s", hours, err, wait)
				}
			})
		}
	}
}

func again(t *testing.T) func(*history.History, string) *history.History {
	return func(h *history.History, dir string) *history.History {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, dir)
	}
}

// A rebuild forgets what was not heard for hours, but not a registration to which the first heartbeat comes late.
func TestARebuildKnowsTheFirstGapHoursLater(t *testing.T) {
	store, now := eventstoretest.NewMemory(), began
	store.Now = func() time.Time { return now }
	tell := func(stream eventstore.StreamName, eventType string) {
		event := eventstore.EventData{Type: eventType, Data: []byte(`{"epoch":1}`)}
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{event}}); err != nil {
			t.Fatal(err)
		}
	}
	late, ended, other := domain.Key{Namespace: "default", Service: "web", ID: "a"}, domain.Key{Namespace: "default", Service: "web", ID: "b"}, domain.Key{Namespace: "default", Service: "web", ID: "c"}
	for _, key := range []domain.Key{late, ended, other} {
		tell(eventstore.LifecycleStream(key), domain.TypeInstanceRegistered)
	}
	tell(eventstore.LifecycleStream(ended), domain.TypeInstanceDeregistered)
	for range 1200 { // a rebuild applies 1,024 events at once
		now = now.Add(15 * time.Second)
		tell(eventstore.HeartbeatStream(other), domain.TypeHeartbeatReceived)
	}
	tell(eventstore.HeartbeatStream(late), domain.TypeHeartbeatReceived)
	tell(eventstore.HeartbeatStream(ended), domain.TypeHeartbeatReceived) // one that had lost the race against the end
	dir := t.TempDir() + "/history"
	if err := history.RebuildSegmented(ctx, dir, store, storeID, segment); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	defer h.Close()
	for _, key := range []domain.Key{late, ended} {
		hours, err := h.Heartbeats(ctx, key, time.Time{}, time.Time{})
		if err != nil || len(hours) != 1 || hours[0].LongestGap != 5*time.Hour {
			t.Errorf("the hours of %s are %+v, %v; want one with a gap of 5h", key, hours, err)
		}
	}
}
