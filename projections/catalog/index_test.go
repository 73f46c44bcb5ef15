package catalog

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

// entryOf is an entry of an instance with an empty source.
func entryOf(s *service, id string) *Entry {
	e := &Entry{facts: facts{service: s}}
	keep(e, id, nil)
	return e
}

func remove(x *index, key domain.Key) {
	shard, hash := x.shardOf(key)
	if at := shard.locate(key, hash); at.entry != nil {
		at.remove()
	}
}

// Whatever comes and goes, the index finds what a map would.
func TestTheIndexFindsWhatWasSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	web := &service{key: domain.ServiceKey{Namespace: "default", Service: "web"}}
	x, want := newIndex(), map[domain.Key]int{}
	for step := range 200_000 {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", rng.IntN(3000))}
		if rng.IntN(2) == 0 {
			want[key] = step
			x.set(entryOf(web, key.ID), step)
		} else {
			delete(want, key)
			remove(x, key)
		}
	}
	live := 0
	for i := range x.shards {
		if s := &x.shards[i]; s.live > s.used || 4*s.used > 3*len(*s.slots.Load()) {
			t.Errorf("a shard of %d slots has %d live of %d used ones", len(*s.slots.Load()), s.live, s.used)
		}
		live += x.shards[i].live
	}
	if live != len(want) {
		t.Errorf("%d slots are live for %d keys", live, len(want))
	}
	for i := range 3000 {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i)}
		listed, ok := want[key]
		shard, hash := x.shardOf(key)
		at := shard.locate(key, hash)
		e := at.entry
		if found := x.find(key); ok != (found != nil) || found != e || ok && (int(at.slot.listed) != listed || found.Key() != key) {
			t.Fatalf("%s is %+v at %+v, %+v; want %d, %v", key, e, at, found, listed, ok)
		}
	}
}

// Keys whose parts make the same text are not the same.
func TestAnEntryKnowsItsKey(t *testing.T) {
	e := entryOf(&service{key: domain.ServiceKey{Namespace: "shop", Service: "web"}}, "i1")
	if !e.Is(domain.Key{Namespace: "shop", Service: "web", ID: "i1"}) {
		t.Error("it is not its own")
	}
	for _, other := range []domain.Key{
		{Namespace: "shop", Service: "web", ID: "i2"}, {Namespace: "shop", Service: "wet", ID: "i1"}, {Namespace: "show", Service: "web", ID: "i1"},
		{Namespace: "shop", Service: "we", ID: "bi1"}, {Namespace: "sho", Service: "pweb", ID: "i1"}, {Namespace: "shop", ID: "web/i1"}, {ID: "shop/web/i1"}, {},
	} {
		if e.Is(other) {
			t.Errorf("it is that of %+v, too", other)
		}
	}
}

// Whoever looks while others come and go finds what stays.
func TestTheIndexIsReadWhileItChanges(t *testing.T) {
	x, web := newIndex(), &service{key: domain.ServiceKey{Namespace: "default", Service: "web"}}
	entry := func(i int) *Entry {
		return entryOf(web, fmt.Sprint("i", i))
	}
	const stay = 500
	for i := range stay {
		x.set(entry(i), i)
	}
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				for i := range 2 * stay {
					e := x.find(domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i)})
					if e == nil && i < stay || e != nil && e.ID() != fmt.Sprint("i", i) {
						t.Errorf("i%d is %+v", i, e)
						return
					}
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		switch i := rng.IntN(2 * stay); {
		case i < stay:
			x.set(entry(i), i)
		case rng.IntN(2) == 0:
			x.set(entry(i), i)
		default:
			remove(x, entry(i).Key())
		}
	}
	done.Store(true)
	readers.Wait()
}
