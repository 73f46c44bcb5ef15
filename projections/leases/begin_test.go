package leases_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Leases that began together, from several goroutines, are as those that began one by one.
func TestLeasesThatBeginTogetherAreAsOthers(t *testing.T) {
	const services, instances = 4, 300
	ttl := func(i int) time.Duration { return time.Duration(i%7) * time.Second } // 0: an instance without a lease
	together, single, as := leases.NewTable(began, 0), leases.NewTable(began, services*instances), newRegistered()
	var group sync.WaitGroup
	for n := range services {
		var of []*catalog.Entry
		for i := range instances {
			k := domain.Key{Namespace: []string{"default", "other"}[n%2], Service: string(rune('a' + n)), ID: key(i).ID}
			of = append(of, as.instance(k, uint64(i+1), ttl(i)))
			single.Start(of[i], time.Time{}, began)
		}
		group.Go(func() { together.Begin(of, began) })
	}
	group.Wait()
	now := began.Add(3500 * time.Millisecond)
	together.Sweep(now)
	single.Sweep(now)
	if together.Len() != single.Len() || together.Due() != single.Due() || single.Due() == 0 {
		t.Fatalf("%d leases, %d overdue; want %d and %d", together.Len(), together.Due(), single.Len(), single.Due())
	}
	byName := func(a, b leases.Census) int { return len(a.Namespace) - len(b.Namespace) }
	got, want := together.Changes(), single.Changes()
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(got, want) {
		t.Errorf("the namespaces are %+v, want %+v", got, want)
	}
	for n := range services {
		for i := range instances {
			k := domain.Key{Namespace: []string{"default", "other"}[n%2], Service: string(rune('a' + n)), ID: key(i).ID}
			got, ok := together.Find(k)
			want, wanted := single.Find(k)
			if got != want || ok != wanted {
				t.Fatalf("%s has %+v, %v; want %+v, %v", k, got, ok, want, wanted)
			}
		}
	}
	for i := range instances { // they end as others do
		together.End(domain.Key{Namespace: "default", Service: "a", ID: key(i).ID}, false)
		single.End(domain.Key{Namespace: "default", Service: "a", ID: key(i).ID}, false)
	}
	if together.Len() != single.Len() || together.Due() != single.Due() {
		t.Errorf("%d leases are left, %d overdue; want %d and %d", together.Len(), together.Due(), single.Len(), single.Due())
	}
}
