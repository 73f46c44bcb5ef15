package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// crowd are the registrations of many instances of one service, some with long texts and some with control characters.
func crowd(t *testing.T, n int) (events []eventstore.RecordedEvent) {
	for i := range n {
		details := domain.Details{Address: "10.0.0.5", Weight: 100, Status: domain.Passing, TTL: domain.Duration(30e9)}
		switch i % 100 {
		case 7:
			details.Metadata = map[string]string{"long": strings.Repeat("x", 12_000)}
		case 8:
			details.Checks = []domain.Check{domain.Check{ID: "alive", Kind: domain.CheckTTL, TTL: domain.Duration(15e9)}.Normalize()}
		}
		data, err := domain.Encode(domain.InstanceRegistered{Epoch: 1, Owner: fmt.Sprint("owner-", i%3), Details: details})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: data},
			Stream:    eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "crowd", ID: fmt.Sprint("i", i)}),
			Position:  eventstore.Position(i + 1), RecordedAt: start,
		})
	}
	return events
}

func mustApply(t *testing.T, c *catalog.Catalog, events []eventstore.RecordedEvent) {
	for i := range events {
		if _, _, err := c.Apply(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func stateOf(c *catalog.Catalog) (state []byte) {
	for chunk := range c.Freeze().Encode {
		state = append(state, chunk...)
	}
	return state
}

// A service that is divided among several frames is one service, and the events after the snapshot change it as they change the
// catalog that was saved.
func TestALargeServiceIsReadFromSeveralFrames(t *testing.T) {
	const instances = 5000
	saved := catalog.New()
	mustApply(t, saved, crowd(t, instances))
	mustApply(t, saved, register(50))
	loaded, err := catalog.Load(bytes.NewReader(stateOf(saved)))
	if err != nil {
		t.Fatal(err)
	}
	var more []eventstore.RecordedEvent
	for i := range instances {
		if i%3 == 0 {
			continue
		}
		e := eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: domain.TypeInstanceDeregistered, Data: []byte(`{"epoch":1}`)},
			Stream:    eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "crowd", ID: fmt.Sprint("i", i)}),
			Revision:  1, Position: eventstore.Position(instances + i), RecordedAt: start,
		}
		if i%3 == 1 {
			e.Type, e.Data = domain.TypeHealthChanged, []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client"}`)
		}
		more = append(more, e)
	}
	for range 2 {
		for _, key := range saved.Services("") {
			if want, got := told(saved.View(key)), told(loaded.View(key)); got != want {
				t.Fatalf("%s is %s, want %s", key, got, want)
			}
		}
		if loaded.Len() != saved.Len() {
			t.Fatalf("%d instances, want %d", loaded.Len(), saved.Len())
		}
		mustApply(t, saved, more)
		mustApply(t, loaded, more)
		more = nil
	}
}

// Whichever byte of a state is another one, the state is refused, or is a catalog that can be read.
func TestADamagedStateEndsNothing(t *testing.T) {
	saved := catalog.New()
	mustApply(t, saved, crowd(t, 10))
	state := stateOf(saved)
	for at := range min(len(state), 200) {
		for _, to := range []byte{31, 255} {
			damaged := slices.Clone(state)
			damaged[at] = to
			loaded, err := catalog.Load(bytes.NewReader(damaged))
			if err != nil {
				if !errors.Is(err, catalog.ErrBadSnapshot) {
					t.Fatalf("with %d at byte %d: %v", to, at, err)
				}
				continue
			}
			for _, key := range loaded.Services("") {
				told(loaded.View(key))
			}
		}
	}
}
