package feed_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// busy is a feed of a few changes, whose services come and go.
type busy struct {
	*feed.Feed
	at eventstore.Position
}

func startBusy() *busy { return &busy{Feed: feed.New(catalog.New(), 7, 20), at: 7} }

// change adds one change: a registration, or a removal.
func (b *busy) change(t *testing.T, service string, removed bool) {
	t.Helper()
	c := catalog.New()
	b.at++
	e := eventstore.RecordedEvent{EventData: eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: []byte(`{"epoch":1,"address":"10.0.0.1","status":"passing"}`)}, Position: b.at}
	e.Stream = eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: service, ID: "a"})
	_, after, err := c.Apply(&e)
	if err != nil || after == nil {
		t.Fatal("the registration is not applied", err)
	}
	if removed {
		b.Append(&e, after, nil)
	} else {
		b.Append(&e, nil, after)
	}
}

// churn has many services come and go.
func (b *busy) churn(t *testing.T, services int) {
	t.Helper()
	for range services {
		name := fmt.Sprintf("job-%d", b.at)
		b.change(t, name, false)
		b.change(t, name, true)
	}
}

func of(service string) domain.ServiceKey {
	return domain.ServiceKey{Namespace: "default", Service: service}
}

// Changes to other services are none that a watcher misses, however many they are.
func TestAWatcherOfAServiceThatDoesNotChangeIsNotBehind(t *testing.T) {
	b := startBusy()
	for _, service := range []string{"gone", "left"} {
		b.change(t, service, false)
		b.change(t, service, true)
	}
	began, idle := b.Position(), b.Heads()
	keys := []domain.ServiceKey{of("never"), of("gone"), of("left")}
	_, stop := b.Watch(keys...)
	b.churn(t, 200)
	for _, key := range keys {
		if changes, ok := b.Since(key, began); !ok || len(changes) > 0 {
			t.Errorf("%s did not change: %v, %v", key, changes, ok)
		}
		b.change(t, key.Service, false)
		if changes, ok := b.Since(key, began); !ok || len(changes) != 1 || changes[0].Position() != b.at {
			t.Errorf("the change of %s after %d: %v, %v", key, began, changes, ok)
		}
		b.change(t, key.Service, true)
	}
	if changes, ok := b.SinceAny(keys, began); !ok || len(changes) != 6 || !slices.IsSortedFunc(changes, func(x, y *feed.Change) int { return int(x.Position()) - int(y.Position()) }) {
		t.Errorf("the changes of all: %v, %v", changes, ok)
	}
	b.churn(t, 200) // the six changes leave the ring
	if _, ok := b.Since(of("gone"), began); ok {
		t.Error("changes that left the ring are not missed")
	}
	stop()
	b.churn(t, 200)
	if n := b.Heads(); n > idle+20 {
		t.Errorf("%d services are kept after the watch, %d before", n, idle)
	}
	if _, ok := b.Since(of("never"), began); ok {
		t.Error("a service that nobody watched may have changed")
	}
}

// A service that is not there keeps its position while others come and go, but for a few times: whoever polls it is not answered each time.
func TestThePositionOfAServiceThatIsNotThereSeldomChanges(t *testing.T) {
	b := startBusy()
	positions := map[eventstore.Position]bool{}
	last := eventstore.Position(0)
	for range 2_000 {
		b.churn(t, 1)
		at := b.ChangedAt(of("never"))
		if at < last {
			t.Fatalf("the position fell from %d to %d", last, at)
		}
		positions[at], last = true, at
	}
	if n := len(positions); n > 12 { // once in 4,096 services, on average
		t.Errorf("the position has changed %d times", n)
	}
}
