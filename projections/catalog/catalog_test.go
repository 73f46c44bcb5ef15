package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
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
		Tags:     rapid.SampledFrom([][]string{nil, {"b", "a"}, {`"`, "\u2028<"}}).Draw(t, "tags"),
		Ports:    rapid.SampledFrom([]map[string]uint16{nil, {"http": 80}, {"a": 1, "b": 65535}}).Draw(t, "ports"),
		Status:   rapid.SampledFrom([]domain.Status{"", domain.Starting, domain.Passing, domain.Critical}).Draw(t, "status"),
		TTL:      domain.Duration(rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Second, 1500*time.Millisecond + 1, 90 * time.Minute, 2000 * time.Hour, time.Duration(domain.NoTTL)}).Draw(t, "ttl")),
		OnLapse:  rapid.SampledFrom([]domain.LapsePolicy{"", "", "", domain.LapseCritical}).Draw(t, "on lapse"),
		Checks: rapid.SampledFrom([][]domain.Check{
			nil, nil, nil, {}, {worker}, {worker, {ID: "web", Kind: domain.CheckHTTP, URL: "http://a/?q=\"}", RemoveAfter: domain.Duration(time.Minute)}},
		}).Draw(t, "checks"),
	}
}

var worker = domain.Check{ID: "worker", Kind: domain.CheckTTL, TTL: domain.Duration(time.Minute)}

func command(t *rapid.T, key domain.Key) domain.Command {
	answer := rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning, domain.Critical}).Draw(t, "answer")
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 6:
		return domain.AddCheck{Key: key, Check: worker}
	case 7:
		return domain.RemoveCheck{Key: key, Check: rapid.SampledFrom([]string{"worker", "web"}).Draw(t, "check")}
	case 8:
		return domain.ReportCheck{Key: key, Check: "worker", Status: answer, Output: rapid.SampledFrom([]string{"", "\"} oom"}).Draw(t, "output")}
	case 9:
		return domain.ReportProbe{Key: key, Check: "web", Revision: rapid.Uint64Range(0, 3).Draw(t, "revision"), Status: answer, By: "n1", Latency: time.Second}
	case 10:
		return domain.SendHeartbeat{Key: key}
	case 0, 1:
		return domain.RegisterInstance{Key: key, Owner: rapid.SampledFrom([]string{"", "", "pod-1", "a<b"}).Draw(t, "owner"), Details: details(t)}
	case 2:
		return domain.ReportHealth{Key: key, Source: domain.FromClient, Output: rapid.SampledFrom([]string{"", "oom"}).Draw(t, "output"), Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning}).Draw(t, "to")}
	case 3:
		return domain.ChangeTraffic{Key: key, Traffic: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}).Draw(t, "to"),
			Reason: rapid.SampledFrom([]string{"", "disk", "\"}"}).Draw(t, "reason")}
	case 4:
		return domain.DeregisterInstance{Key: key}
	}
	return domain.ExpireLease{Key: key}
}

// history draws commands and yields the events they cause, with the states they lead to. Among them are events as
// version 0.1 wrote them, and what another program or a newer version wrote.
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
			metadata := `{"actor":"ann","schema":2}`
			switch rapid.IntRange(0, 9).Draw(t, "writer") {
			case 0, 1:
				metadata = `{"actor":"bob","schema":1}`
			case 2:
				metadata = rapid.SampledFrom([]string{`{"schema":99}`, `nonsense`, ``, `{"actor":3}`}).Draw(t, "metadata")
			case 3:
				data = garbled(t, data)
			}
			state := states[key]
			state.Key = key
			n := len(events)
			events = append(events, eventstore.RecordedEvent{
				EventData: eventstore.EventData{Type: e.EventType(), Data: data, Metadata: []byte(metadata)}, Stream: eventstore.LifecycleStream(key),
				Revision: eventstore.Revision(state.Events), Position: eventstore.Position(n + 1), RecordedAt: start.Add(time.Duration(n) * time.Second),
			})
			states[key], _ = eventstore.Evolve(state, &events[n]) // unreadable or not
		}
	}
	return events, states
}

// garbled is an event's data as another program might write it.
func garbled(t *rapid.T, data []byte) []byte {
	at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
	switch rapid.IntRange(0, 5).Draw(t, "garbled") {
	case 0:
		data[at] = rapid.Byte().Draw(t, "byte")
	case 1:
		data = data[:at]
	case 2:
		data = slices.Delete(data, at, min(len(data), at+rapid.IntRange(1, 9).Draw(t, "bytes")))
	case 3:
		field := rapid.SampledFrom([]string{`"epoch":7,`, `"epoch":5000000007,`, `"Status":"warning",`, `"status":"fine",`, `"owner":"x",`, `"ttl":"1s",`, `"to":"critical",`,
			`"maintenance":{"by":"x","at":"2026-01-01T00:00:00Z"},`, `"changed":["status"],`, `"address":null,`,
			`"reported":"warning",`, `"source":"lease","lapsed":true,`, `"checks":[{"id":"worker"},{"id":"worker"}],`, `"on_lapse":"critical",`}).Draw(t, "field")
		if comma := bytes.IndexByte(data[at:], ','); comma >= 0 {
			data = slices.Insert(data, at+comma+1, []byte(field)...)
		}
	case 4:
		var fields map[string]any // in another order, and without what was there last
		if json.Unmarshal(data, &fields) == nil {
			delete(fields, rapid.SampledFrom([]string{"status", "ttl", "to", "owner", "none"}).Draw(t, "without"))
			data, _ = json.Marshal(fields)
		}
	case 5:
		return []byte(rapid.SampledFrom([]string{`{}`, `null`, `[]`, ``, `{"epoch":-1}`, `{"epoch":01}`}).Draw(t, "data"))
	}
	return data
}

func apply(t *rapid.T, c *catalog.Catalog, events []eventstore.RecordedEvent) {
	for i := range events {
		before, now, err := c.Apply(&events[i])
		requireOutcome(t, &events[i], before, now, err)
	}
}

// requireOutcome holds the catalog to telling what it cannot read, and nothing else but what cannot have happened.
func requireOutcome(t *rapid.T, e *eventstore.RecordedEvent, before, now *catalog.Entry, err error) {
	_, unreadable := eventstore.Decode(e)
	switch {
	case err != nil && (before != nil || now != nil):
		t.Fatalf("%s changed %v to %v, although %v", e.Type, before, now, err)
	case err == nil && unreadable != nil:
		t.Fatalf("%s %s is not refused, although %v", e.Type, e.Data, unreadable)
	case err != nil && unreadable == nil && !strings.Contains(err.Error(), "which is not registered"):
		t.Fatalf("%s %s is refused: %v", e.Type, e.Data, err)
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
		case n%3 == 2:
			requireOutcome(t, e, before, now, err)
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
				if got == nil || !same(got.Instance(), want) || got.TTL() != time.Duration(want.Details.TTL) {
					t.Fatalf("%s is %+v, want %+v", key, got, want)
				}
			}
			if want.Live() {
				live++
			}
		}
		for _, key := range c.Services("") {
			for _, e := range c.View(key).Entries {
				if !states[e.Key()].Live() {
					t.Fatalf("%s is listed, but it is gone", e.Key())
				}
			}
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

// same compares states; a time is the same in whatever zone it is written.
func same(a, b domain.Instance) bool {
	if a.Maintenance != nil && b.Maintenance != nil && a.Maintenance.At.Equal(b.Maintenance.At) {
		m := *a.Maintenance
		m.At = b.Maintenance.At
		a.Maintenance = &m
	}
	return reflect.DeepEqual(a, b)
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

// A view that is made of the view before it and of what has changed is what sorting all gives, however many changes were made
// between two looks.
func TestAViewHasTheEntriesInTheOrderOfTheirIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, _ := history(t)
		c := catalog.New()
		for i := range events {
			apply(t, c, events[i:i+1])
			if rapid.IntRange(0, 3).Draw(t, "look") > 0 {
				continue
			}
			for _, key := range c.Services("") {
				var want []*catalog.Entry
				for e := range c.All {
					if e.Service() == key {
						want = append(want, e)
					}
				}
				slices.SortFunc(want, func(a, b *catalog.Entry) int { return strings.Compare(a.ID(), b.ID()) })
				if got := c.View(key).Entries; !slices.Equal(got, want) {
					t.Fatalf("%s has %v, want %v", key, got, want)
				}
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
		if _, err := load(io.MultiReader(bytes.NewReader(state[:200_000]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%s: a reader that breaks gave %v", name, err)
		}
		if _, err := load(io.MultiReader(bytes.NewReader(state), bytes.NewReader(state))); !errors.Is(err, catalog.ErrBadSnapshot) {
			t.Errorf("%s: a state that has every instance twice gave %v", name, err)
		}
		for _, e := range events {
			key, _ := e.Stream.InstanceKey()
			if found := loaded.Find(key); found == nil || found.Key() != key {
				t.Fatalf("%s: %s is not found", name, key)
			}
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
		i := e.Instance()
		maintenance := fmt.Sprintf("%+v", i.Maintenance)
		i.Maintenance = nil // a pointer
		fmt.Fprintf(&b, "%+v %s %s %s %d\n", i, maintenance, e.RegisteredAt(), e.ChangedAt(), e.Position)
	}
	return b.String()
}

func TestTheRegistrysOwnNamespaceIsListedWhereItIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		asked, namespace string
		want             bool
	}{
		{"", "default", true}, {"", domain.RegistryNamespace, false}, {domain.RegistryNamespace, domain.RegistryNamespace, true}, {"default", "other", false},
	} {
		if got := catalog.Within(c.asked, c.namespace); got != c.want {
			t.Errorf("%q is within %q: %v", c.namespace, c.asked, got)
		}
	}
}
