package watch_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// listed is what a catalog has: "service: ids", by name.
func listed(c *watch.Catalog) string {
	var all []string
	for _, s := range c.Services() {
		words := []string{s.Key.String() + ":"}
		for _, i := range s.Instances {
			words = append(words, i.ID)
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", ")
}

func TestTheWholeCatalogIsFollowed(t *testing.T) {
	watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "b", "10.0.0.1", 80)
		r.Register("cart", "a", "10.0.0.2", 80)
		cart := service(t, w, "cart") // named before the catalog is watched
		later := service(t, w, "later")
		c := w.Catalog()
		if c.Known() {
			t.Error("the catalog is known before the registry told of it")
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		told := map[string]int{}
		defer c.Listen(func(key domain.ServiceKey, all []*wire.Instance) { told[key.Service] = len(all) })()
		r.Register("pay", "p", "10.0.0.3", 80)
		r.Register("later", "l", "10.0.0.4", 80)
		time.Sleep(time.Second)
		if got := listed(c); got != "default/cart: a b, default/later: l, default/pay: p" || ids(cart) != "a b" || ids(later) != "l" {
			t.Errorf("%s; cart %q, later %q", got, ids(cart), ids(later))
		}
		pay, none := service(t, w, "pay"), service(t, w, "none") // known at once
		r.Asked()
		if err := r.Do(domain.DeregisterInstance{Key: key("pay", "p")}); err != nil {
			t.Fatal(err)
		}
		if err := r.Do(domain.DeregisterInstance{Key: key("cart", "a")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := listed(c); got != "default/cart: b, default/later: l" || ids(pay) != "" || ids(none) != "" || fmt.Sprint(told) != "map[cart:1 later:1 pay:0]" {
			t.Errorf("%s; pay %q, told %v", got, ids(pay), told)
		}
		if asked := r.Asked(); len(asked) != 0 {
			t.Errorf("more streams were opened: %v", asked)
		}
		pay.Close()
		cart.Close()
		r.Restore(nil)
		time.Sleep(10 * time.Second)
		if got := listed(c); got != "" || fmt.Sprint(told) != "map[cart:0 later:0 pay:0]" {
			t.Errorf("after the restore of an empty registry: %s, told %v", got, told)
		}
		r.Register("cart", "z", "10.0.0.9", 80)
		time.Sleep(time.Second)
		if got := listed(c); got != "default/cart: z" || c.State().Age() > 15*time.Second {
			t.Errorf("then: %s", got)
		}
	})
}

// cached runs a test with a watcher that keeps a cache.
func cached(t *testing.T, path string, r *clienttest.Registry, test func(w *watch.Watcher)) {
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{Cache: path})
	test(w)
	end()
	<-w.Done()
}

func TestACacheOfTheWholeCatalogIsUsedWithoutTheRegistry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.json")
	synctest.Test(t, func(t *testing.T) {
		r := clienttest.New()
		r.Register("cart", "a", "10.0.0.2", 80)
		r.Register("pay", "p", "10.0.0.2", 80)
		cached(t, path, r, func(w *watch.Watcher) {
			if err := w.Catalog().Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		r.SetAway(errors.New("connection refused"))
		cached(t, path, r, func(w *watch.Watcher) { service(t, w, "cart") }) // a run that watches one service keeps the rest
		time.Sleep(time.Minute)
		cached(t, path, r, func(w *watch.Watcher) {
			none, err := w.Service(domain.ServiceKey{Service: "none"})
			if err != nil {
				t.Fatal(err)
			}
			c := w.Catalog()
			if got := listed(c); got != "default/cart: a, default/pay: p" || !c.Known() || c.State().Live || c.State().Age() < time.Minute {
				t.Errorf("%s, %+v", got, c.State())
			}
			if all, known := none.Instances(); !known || len(all) != 0 {
				t.Errorf("a service that the catalog lacks: %v, %v", all, known)
			}
			r.SetAway(nil)
			if err := r.Do(domain.DeregisterInstance{Key: key("cart", "a")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if got := listed(c); got != "default/pay: p" || !c.State().Live {
				t.Errorf("when the registry is back: %s, %+v", got, c.State())
			}
		})
		r.SetAway(errors.New("connection refused"))
		cached(t, path, r, func(w *watch.Watcher) { service(t, w, "pay").Close() })
		cached(t, path, r, func(w *watch.Watcher) {
			if c := w.Catalog(); c.Known() {
				t.Errorf("a cache that lost a service is taken for the whole catalog: %s", listed(c))
			}
		})
	})
}
