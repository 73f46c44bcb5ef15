package catalog_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// counted counts by a look at every instance.
func counted(c *catalog.Catalog, now time.Time) catalog.Counts {
	all := catalog.Counts{Instances: map[catalog.InstanceGroup]int{}, Checks: map[catalog.CheckGroup]int{}, Flapping: map[domain.CheckKind]int{}}
	for e := range c.All {
		all.Instances[catalog.InstanceGroup{Service: e.Service(), Status: e.Status(), Traffic: e.Traffic()}]++
		for _, check := range e.Checks() {
			all.Checks[catalog.CheckGroup{Kind: check.Kind, Status: check.Status}]++
			if check.Flapping(now) {
				all.Flapping[check.Kind]++
			}
		}
	}
	return all
}

// Whatever happens between two questions, the counts are those of a look at every instance.
func TestCountsAreThoseOfALookAtEveryInstance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, _ := history(t)
		c := catalog.New()
		for len(events) > 0 {
			n := rapid.IntRange(1, len(events)).Draw(t, "events")
			applyAll(t, c, events[:n])
			now := events[n-1].RecordedAt
			if got, want := c.Counts(now), counted(c, now); !reflect.DeepEqual(got, want) {
				t.Fatalf("the counts are %+v, want %+v", got, want)
			}
			events = events[n:]
		}
	})
}

func TestACheckFlapsForAsLongAsItsChangesAreNew(t *testing.T) {
	key := domain.Key{Namespace: "default", Service: "s", ID: "i"}
	c, state, now, position := catalog.New(), domain.Instance{Key: key}, start, eventstore.Position(0)
	do := func(command domain.Command) {
		t.Helper()
		decided, err := domain.Decide(state, command)
		if err != nil || len(decided) == 0 {
			t.Fatal(decided, err)
		}
		for _, event := range decided {
			data, err := domain.Encode(event)
			if err != nil {
				t.Fatal(err)
			}
			position++
			e := eventstore.RecordedEvent{
				EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)}, Stream: eventstore.LifecycleStream(key),
				Revision: eventstore.Revision(state.Events), Position: position, RecordedAt: now,
			}
			mustApply(t, c, []eventstore.RecordedEvent{e})
			if state, err = eventstore.Evolve(state, &e); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(flapping int) {
		t.Helper()
		if got, want := c.Counts(now), counted(c, now); !reflect.DeepEqual(got, want) || got.Flapping[domain.CheckTTL] != flapping {
			t.Errorf("after %s the counts are %+v, want %+v", now.Sub(start), got, want)
		}
	}
	flip := func(times int) {
		t.Helper()
		for range times {
			now = now.Add(time.Second)
			status := domain.Critical
			if state.Checks[0].Status == domain.Critical {
				status = domain.Passing
			}
			do(domain.ReportCheck{Key: key, Check: "worker", Status: status})
		}
	}
	do(domain.RegisterInstance{Key: key, Details: domain.Details{Address: "10.0.0.5", Weight: 100, TTL: domain.Duration(time.Minute), Checks: []domain.Check{worker}}})
	check(0)
	flip(domain.FlappingChanges)
	check(1)
	now = now.Add(domain.FlappingWithin)
	check(0)
	flip(1)
	check(0)
	flip(domain.FlappingChanges)
	check(1)
	do(domain.DeregisterInstance{Key: key})
	check(0)
}
