package queries

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Whatever happened between two lists, and whatever the filter, the list that takes pieces of the one before is the list that is
// encoded anew.
func TestAListOfPiecesIsTheList(t *testing.T) {
	ctx := context.Background()
	filters := []InstanceFilter{{}, {Ready: true}, {Statuses: []domain.Status{domain.Critical}}, {Zone: "eu-1a"}}
	taken := 0
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := eventstoretest.NewMemory()
		fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN}
		if err := fleet.Do(ctx, 400); err != nil {
			t.Fatal(err)
		}
		c := catalog.New()
		before := map[string]*pieces{}
		for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Apply(&e); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(4) > 0 {
				continue
			}
			for _, key := range c.Services("") {
				view := c.View(key)
				frame := wire.InstanceList{Service: key.Service, Position: wire.Position{Number: e.Position}}
				for i, filter := range filters {
					name := fmt.Sprint(key, i)
					p := encodePieces(before[name], frame, view.Entries, filter)
					if want := encodeList(frame, view.Entries, filter, nil); string(p.bytes) != string(want.Bytes) {
						t.Fatalf("seed %d at %d, %s with filter %q:\n%s\nwant\n%s", seed, e.Position, key, filter.Text(), p.bytes, want.Bytes)
					}
					if before[name] != nil {
						taken += len(before[name].entries)
					}
					before[name] = p
				}
			}
		}
	}
	if taken == 0 {
		t.Error("no list had a list before it")
	}
}

func TestKeptListsAreBounded(t *testing.T) {
	var l lists
	for i := range 40 {
		l.keep(listOf{filter: fmt.Sprint(i)}, &pieces{entries: make([]*catalog.Entry, 1), bytes: make([]byte, 4<<20)})
	}
	l.keep(listOf{filter: "empty"}, &pieces{})
	l.keep(listOf{filter: "large"}, &pieces{entries: make([]*catalog.Entry, 1), bytes: make([]byte, keptPieces)})
	total := 0
	for name, p := range l.newest {
		total += p.size(name)
	}
	if total != l.bytes || total > keptPieces || len(l.newest) != 15 || len(l.order) != 15 || l.newest[listOf{filter: "39"}] == nil {
		t.Errorf("%d lists of %d bytes are kept, %d are counted", len(l.newest), total, l.bytes)
	}
}

func BenchmarkALargeListAfterAChange(b *testing.B) {
	const instances = 20_000
	c := catalog.New()
	register := func(i, version int, at eventstore.Position) {
		data, err := domain.Encode(domain.InstanceRegistered{Epoch: uint64(version), Details: domain.Details{
			Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}, Zone: "eu-1a", Weight: 100,
			Status: domain.Passing, TTL: domain.Duration(domain.DefaultTTL),
		}})
		if err != nil {
			b.Fatal(err)
		}
		key := domain.Key{Namespace: "default", Service: "large", ID: fmt.Sprint("i", i)}
		e := eventstore.RecordedEvent{EventData: eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: data}, Stream: eventstore.LifecycleStream(key), Position: at}
		if _, _, err := c.Apply(&e); err != nil {
			b.Fatal(err)
		}
	}
	at := eventstore.Position(0)
	for i := range instances {
		at++
		register(i, 1, at)
	}
	var l lists
	for b.Loop() {
		at++
		register(int(at)%instances, int(at), at)
		view := c.View(domain.ServiceKey{Namespace: "default", Service: "large"})
		l.encode(wire.InstanceList{Position: wire.Position{Number: at}}, view, InstanceFilter{})
	}
}
