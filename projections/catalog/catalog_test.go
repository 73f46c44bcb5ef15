package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func details(t *rapid.T) domain.Details {
	return domain.Details{
		Address: "10.0.0.5", Weight: 100,
		Zone:     rapid.SampledFrom([]string{"", "a", `b","ttl":"1s`, `c","status":"warning`, "\\"}).Draw(t, "zone"),
		Metadata: map[string]string{"note": rapid.SampledFrom([]string{"", `","status":"critical","ttl":"9s"}`, `"}`}).Draw(t, "note")},
		Status:   rapid.SampledFrom([]domain.Status{domain.Starting, domain.Passing, domain.Critical}).Draw(t, "status"),
		TTL:      domain.Duration(rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Second, 90 * time.Minute}).Draw(t, "ttl")),
	}
}

func command(t *rapid.T, key domain.Key) domain.Command {
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0, 1:
		return domain.RegisterInstance{Key: key, Details: details(t)}
	case 2:
		return domain.ReportHealth{Key: key, Source: domain.FromClient, Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning}).Draw(t, "to")}
	case 3:
		return domain.ChangeTraffic{Key: key, Traffic: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining}).Draw(t, "to")}
	case 4:
		return domain.DeregisterInstance{Key: key}
	}
	return domain.ExpireLease{Key: key}
}

// history draws commands and yields the events they cause, with the states they lead to.
func history(t *rapid.T) (events []eventstore.RecordedEvent, states map[domain.Key]domain.Instance) {
	states = map[domain.Key]domain.Instance{}
	for range rapid.IntRange(0, 60).Draw(t, "commands") {
		key := domain.Key{
			Namespace: rapid.SampledFrom([]string{"default", "shop"}).Draw(t, "namespace"),
			Service:   rapid.SampledFrom([]string{"cart", "checkout"}).Draw(t, "service"),
			ID:        rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id"),
		}
		decided, err := domain.Decide(states[key], command(t, key))
		if err != nil {
			continue
		}
		for _, e := range decided {
			if e.EventType() == domain.TypeHeartbeatReceived {
				continue
			}
			data, err := domain.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			state := states[key]
			state.Key = key
			n := len(events)
			events = append(events, eventstore.RecordedEvent{
				EventData: eventstore.EventData{Type: e.EventType(), Data: data}, Stream: eventstore.LifecycleStream(key),
				Revision: eventstore.Revision(state.Events), Position: eventstore.Position(n + 1), RecordedAt: start.Add(time.Duration(n) * time.Second),
			})
			states[key] = domain.Evolve(state, e)
		}
	}
	return events, states
}

func apply(t *rapid.T, c *catalog.Catalog, events []eventstore.RecordedEvent) {
	for i := range events {
		if _, _, err := c.Apply(&events[i]); err != nil {
			t.Fatalf("apply %s: %v", events[i].Type, err)
		}
	}
}

// applyAll applies events of instances among some of others.
func applyAll(t *rapid.T, c *catalog.Catalog, events []eventstore.RecordedEvent) {
	var mixed []eventstore.RecordedEvent
	for _, e := range events {
		beat, none := e, e
		beat.Stream, none.Stream = eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "cart", ID: "a"}), "instance-nobody's"
		mixed = append(mixed, beat, e, none)
	}
	n := 0
	c.ApplyAll(mixed, func(e *eventstore.RecordedEvent, before, now *catalog.Entry, err error) {
		if e != &mixed[n] {
			t.Fatalf("%s comes where %s should", e.Stream, mixed[n].Stream)
		}
		switch n++; {
		case n%3 == 2 && (err != nil || before == now):
			t.Fatalf("%s of %s changed %v to %v, %v", e.Type, e.Stream, before, now, err)
		case n%3 == 1 && (err != nil || before != nil || now != nil), n%3 == 0 && !errors.As(err, new(domain.InvalidField)):
			t.Fatalf("%s changed %v to %v, %v", e.Stream, before, now, err)
		}
	})
	if n != len(mixed) {
		t.Fatalf("%d outcomes of %d events", n, len(mixed))
	}
}

// The catalog is the fold of its events, in whole and from any snapshot.
func TestTheCatalogEqualsTheFoldOfItsEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, states := history(t)
		c := catalog.New()
		cut := rapid.IntRange(0, len(events)).Draw(t, "snapshot at")
		apply(t, c, events[:cut])
		var state []byte
		for chunk := range c.Freeze().Encode {
			state = append(state, chunk...)
		}
		load := catalog.Load
		if rapid.Bool().Draw(t, "shared") {
			load = catalog.LoadShared
		}
		resumed, err := load(bytes.NewReader(state))
		if err != nil {
			t.Fatal(err)
		}
		apply(t, c, events[cut:])
		applyAll(t, resumed, events[cut:])
		live := 0
		for key, want := range states {
			for _, c := range []*catalog.Catalog{c, resumed} {
				got := c.Find(key)
				if !want.Live() {
					if got != nil {
						t.Fatalf("%s is in the catalog, but it is gone", key)
					}
					continue
				}
				if got == nil || !reflect.DeepEqual(got.Instance(), want) || got.TTL != time.Duration(want.Details.TTL) {
					t.Fatalf("%s is %+v, want %+v", key, got, want)
				}
			}
			if want.Live() {
				live++
			}
		}
		for _, key := range c.Services("") {
			if a, b := told(c.View(key)), told(resumed.View(key)); a != b {
				t.Fatalf("%s is %s, from the snapshot %s", key, a, b)
			}
		}
		var keys []domain.Key
		for key := range states {
			keys = append(keys, key)
		}
		for i, e := range c.FindAll(nil, keys) {
			if e != c.Find(keys[i]) {
				t.Fatalf("%s is %+v among others, %+v by itself", keys[i], e, c.Find(keys[i]))
			}
		}
		if c.Len() != live || resumed.Len() != live {
			t.Fatalf("%d and %d instances, want %d", c.Len(), resumed.Len(), live)
		}
	})
}

func TestAViewNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, _ := history(t)
		c := catalog.New()
		type seen struct {
			view *catalog.View
			json string
		}
		var views []seen
		for i := range events {
			apply(t, c, events[i:i+1])
			v := c.View(domain.ServiceKey{Namespace: "shop", Service: "cart"})
			views = append(views, seen{v, told(v)})
		}
		for _, s := range views {
			if told(s.view) != s.json {
				t.Fatal("a view changed after it was given out")
			}
		}
	})
}

func register(n int) (events []eventstore.RecordedEvent) {
	for i := range n {
		data, _ := domain.Encode(domain.InstanceRegistered{Epoch: 1, Details: domain.Details{
			Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"},
			Zone: "eu-1a", Version: "1.4.2", Weight: 100, Status: domain.Passing, TTL: domain.Duration(30 * time.Second),
		}})
		events = append(events, eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: data},
			Stream:    eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: fmt.Sprint("s", i/20), ID: fmt.Sprint("i", i)}),
			Position:  eventstore.Position(i + 1), RecordedAt: start,
		})
	}
	return events
}

func BenchmarkApply(b *testing.B) {
	events := register(100_000)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		c := catalog.New()
		for i := range events {
			if n++; n > b.N {
				break
			}
			if _, _, err := c.Apply(&events[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkLookup20(b *testing.B) {
	c := catalog.New()
	events := register(1000)
	for i := range events {
		if _, _, err := c.Apply(&events[i]); err != nil {
			b.Fatal(err)
		}
	}
	key := domain.ServiceKey{Namespace: "default", Service: "s7"}
	b.ReportAllocs()
	for b.Loop() {
		if told(c.View(key)) == "" {
			b.Fatal("nothing")
		}
	}
}

// A state of many blocks, read in pieces, is the same catalog; one that ends early is refused.
func TestALargeSnapshotIsReadInPieces(t *testing.T) {
	c := catalog.New()
	events := register(5000)
	for i := range events {
		if _, _, err := c.Apply(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	var state []byte
	for chunk := range c.Freeze().Encode {
		state = append(state, chunk...)
	}
	for name, load := range map[string]func(io.Reader) (*catalog.Catalog, error){"Load": catalog.Load, "LoadShared": catalog.LoadShared} {
		loaded, err := load(iotest.HalfReader(bytes.NewReader(state)))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range c.Services("") {
			if a, b := told(c.View(key)), told(loaded.View(key)); a != b {
				t.Fatalf("%s: %s is %s, want %s", name, key, b, a)
			}
		}
		for _, cut := range []int{1, 100, 1000, 300_000} {
			if _, err := load(bytes.NewReader(state[:len(state)-cut])); !errors.Is(err, catalog.ErrBadSnapshot) {
				t.Errorf("%s: without its last %d bytes: %v", name, cut, err)
			}
		}
		broken := errors.New("broken")
		if _, err := load(io.MultiReader(bytes.NewReader(state[:400_000]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%s: a reader that breaks gave %v", name, err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	c := catalog.New()
	events := register(100_000)
	keys := make([]domain.Key, len(events))
	for i := range events {
		keys[i], _ = events[i].Stream.InstanceKey()
		if _, _, err := c.Apply(&events[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if c.Find(keys[i*7919%len(keys)]) == nil {
			b.Fatal("not found")
		}
		i++
	}
}

// told is all that a view says.
func told(v *catalog.View) string {
	var b strings.Builder
	fmt.Fprintln(&b, v.Service, v.Position)
	for _, e := range v.Entries {
		fmt.Fprintf(&b, "%+v %s %s %d\n", e.Instance(), e.RegisteredAt(), e.ChangedAt(), e.Position)
	}
	return b.String()
}
