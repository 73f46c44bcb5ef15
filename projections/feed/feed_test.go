package feed_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// Whatever a reader asks for, it gets all changes after its position, in order, or is told that some
// are gone; and it is never told so while they are there.
func TestAReaderGetsAllOrIsTold(t *testing.T) {
	ctx := context.Background()
	const capacity = 20
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := eventstoretest.NewMemory()
		fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN}
		if err := fleet.Do(ctx, 150); err != nil {
			t.Fatal(err)
		}
		c := catalog.New()
		head, _ := store.Head(ctx)
		begins := eventstore.Position(rng.IntN(int(head)))
		var f *feed.Feed
		byService := map[domain.ServiceKey][]eventstore.Position{}
		var all []eventstore.Position
		services := []domain.ServiceKey{{}, {Namespace: "default", Service: "cart"}, {Namespace: "shop", Service: "checkout"}, {Namespace: "shop", Service: "none"}}
		for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if f == nil && e.Position > begins {
				f = feed.New(c, begins, capacity)
			}
			before, after, err := c.Apply(&e)
			if err != nil {
				t.Fatal(err)
			}
			if before == after {
				continue
			}
			key, _ := e.Stream.InstanceKey()
			byService[key.ServiceKey()] = append(byService[key.ServiceKey()], e.Position)
			all = append(all, e.Position)
			if f == nil {
				continue
			}
			f.Append(&e, before, after)
			if f.Position() != e.Position {
				t.Fatalf("the feed is at %d, want %d", f.Position(), e.Position)
			}
			after2 := eventstore.Position(rng.IntN(int(e.Position) + 1))
			for _, key := range services {
				want := all
				if key != (domain.ServiceKey{}) {
					want = byService[key]
				}
				i, _ := slices.BinarySearch(want, after2+1)
				want = want[i:]
				changes, ok := f.Since(key, after2)
				if !ok {
					inFeed, _ := slices.BinarySearch(all, begins+1)
					if oldest := max(len(all)-capacity, inFeed); len(want) > 0 && slices.Contains(all[oldest:], want[0]) && after2 >= all[oldest] {
						t.Fatalf("%s after %d: told that changes are gone which are there: %v", key, after2, want)
					}
					continue
				}
				var got []eventstore.Position
				for _, c := range changes {
					got = append(got, c.Position())
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%s after %d: got %v, want %v", key, after2, got, want)
				}
			}
		}
	}
}
