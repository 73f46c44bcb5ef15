package watch_test

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

func TestAllInstancesOfAServiceThatPanicsCanBePicked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.json")
	synctest.Test(t, func(t *testing.T) {
		r := clienttest.New()
		r.Register("cart", "a", "10.0.0.1", 80)
		r.Register("cart", "b", "10.0.0.2", 80)
		r.Register("pay", "p", "10.0.0.3", 80)
		do := func(c domain.Command) {
			t.Helper()
			if err := r.Do(c); err != nil {
				t.Fatal(err)
			}
		}
		do(domain.ReportHealth{Key: key("cart", "b"), Status: domain.Critical, Source: domain.FromClient})
		do(domain.ChangeTraffic{Key: key("pay", "p"), Traffic: domain.Draining})
		cart := key("cart", "").ServiceKey()
		for _, whole := range []bool{true, false} { // with a stream of the catalog, and of the service
			cached(t, path, r, func(w *watch.Watcher) {
				if whole {
					w.Catalog()
				}
				s := service(t, w, "cart")
				balancer := pick.New(pick.Options{})
				s.Listen(balancer.Update)
				want := func(when string, n int) {
					t.Helper()
					time.Sleep(10 * time.Second)
					if got := balancer.Len(); got != n || (s.Panic() != nil) != (n == 2) {
						t.Errorf("whole %v, %s: %d can be picked, want %d; the panic is %v", whole, when, got, n, s.Panic())
					}
				}
				want("at first", 1)
				r.SetPanics("half", cart, key("pay", "").ServiceKey())
				want("in panic", 2)
				do(domain.ReportHealth{Key: key("cart", "a"), Status: domain.Critical, Source: domain.FromClient})
				want("after a change", 2)
				do(domain.ReportHealth{Key: key("cart", "a"), Status: domain.Passing, Source: domain.FromClient})
				r.SetAway(errors.New("connection refused"))
				r.SetPanics("half")
				want("while the registry is away", 2)
				r.SetAway(nil)
				want("when the panic ended meanwhile", 1)
				r.SetPanics("half", cart)
				want("in panic again", 2)
			})
			r.SetAway(errors.New("connection refused"))
			cached(t, path, r, func(w *watch.Watcher) { // the cache has it
				s := service(t, w, "cart")
				all, _ := s.Instances()
				if s.Panic() == nil || len(all) != 2 || !pick.Ready(all[1]) || all[1].Ready() {
					t.Errorf("whole %v: from the cache there is %v, and the panic %v", whole, all, s.Panic())
				}
			})
			r.SetAway(nil)
			r.SetPanics("half")
		}
	})
}
