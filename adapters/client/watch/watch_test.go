package watch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// watching runs a test with a registry and a watcher of it.
func watching(t *testing.T, options watch.Options, test func(t *testing.T, r *clienttest.Registry, w *watch.Watcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := clienttest.New()
		ctx, end := context.WithCancel(t.Context())
		w := watch.Start(ctx, r.Client(client.Options{}), options)
		test(t, r, w)
		end()
		<-w.Done()
	})
}

// service watches a service and waits until it is known.
func service(t *testing.T, w *watch.Watcher, name string) *watch.Service {
	t.Helper()
	s, err := w.Service(domain.ServiceKey{Service: name})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func ids(s *watch.Service) string {
	var all []string
	instances, _ := s.Instances()
	for _, i := range instances {
		all = append(all, i.ID)
	}
	return strings.Join(all, " ")
}

func key(service, id string) domain.Key {
	return domain.Key{Namespace: "default", Service: service, ID: id}
}

func TestOneStreamTellsOfAllServices(t *testing.T) {
	watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "b", "10.0.0.1", 80)
		r.Register("cart", "a", "10.0.0.2", 80)
		r.Register("other", "x", "10.0.0.9", 80)
		cart, pay := service(t, w, "cart"), service(t, w, "pay")
		if ids(cart) != "a b" || ids(pay) != "" {
			t.Errorf("cart %q, pay %q", ids(cart), ids(pay))
		}
		var told []string
		stop := pay.Listen(func(all []*wire.Instance) { told = append(told, fmt.Sprint(len(all))) })
		r.Asked()
		r.Register("pay", "p", "10.0.0.3", 80)
		r.Register("cart", "aa", "10.0.0.4", 80)
		if err := r.Do(domain.DeregisterInstance{Key: key("cart", "b")}); err != nil {
			t.Fatal(err)
		}
		if err := r.Do(domain.ChangeTraffic{Key: key("cart", "a"), Traffic: domain.Draining}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		instances, _ := cart.Instances()
		if ids(cart) != "a aa" || instances[0].Traffic != domain.Draining || ids(pay) != "p" {
			t.Errorf("cart %q, pay %q", ids(cart), ids(pay))
		}
		stop()
		if got := strings.Join(told, " "); got != "0 1" {
			t.Errorf("the listener was told %q", got)
		}
		if asked := r.Asked(); len(asked) != 0 {
			t.Errorf("asked again: %q", asked)
		}
		if s := w.State(); !s.Live || s.Age() > 15*time.Second || s.Err != nil {
			t.Errorf("the state is %+v", s)
		}
	})
}

func TestTheInstancesStayWhileTheRegistryIsLost(t *testing.T) {
	for name, lose := range map[string]func(*clienttest.Registry){
		"refused":   func(r *clienttest.Registry) { r.SetAway(errors.New("connection refused")) },
		"swallowed": func(r *clienttest.Registry) { r.SetSwallow(true) },
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
				r.Register("cart", "a", "10.0.0.1", 80)
				cart := service(t, w, "cart")
				lose(r)
				time.Sleep(31 * time.Second) // two keep-alives
				if s := cart.State(); s.Live || s.Err == nil || s.Age() < 15*time.Second {
					t.Errorf("after two keep-alives: %+v, age %v", s, s.Age())
				}
				r.Register("cart", "b", "10.0.0.2", 80)
				time.Sleep(time.Hour)
				if s := cart.State(); ids(cart) != "a" || s.Age() < time.Hour {
					t.Errorf("cart %q, age %v", ids(cart), s.Age())
				}
				r.SetAway(nil)
				r.SetSwallow(false)
				time.Sleep(time.Minute)
				if s := cart.State(); !s.Live || s.Err != nil || ids(cart) != "a b" {
					t.Errorf("after the registry came back: %+v, %q", s, ids(cart))
				}
			})
		})
	}
}

// A registry that was away and tells of no change since is there nevertheless: what is known is right.
func TestAQuietRegistryThatComesBackIsLive(t *testing.T) {
	var told []string
	options := watch.Options{OnChange: func(s watch.State) { told = append(told, fmt.Sprint(s.Live)) }}
	watching(t, options, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "a", "10.0.0.1", 80)
		cart := service(t, w, "cart")
		r.SetAway(errors.New("connection refused"))
		time.Sleep(time.Minute)
		if s := cart.State(); s.Live || s.Age() < time.Minute {
			t.Errorf("while the registry is away: %+v", s)
		}
		r.SetAway(nil)
		time.Sleep(6 * time.Second) // the longest pause between two attempts
		if s := cart.State(); !s.Live || s.Err != nil || s.Age() > 6*time.Second || ids(cart) != "a" {
			t.Errorf("after the registry came back: %+v, %q", s, ids(cart))
		}
		synctest.Wait()
		if n := len(told); n < 3 || told[0] != "true" || told[1] != "false" || told[n-2] != "false" || told[n-1] != "true" {
			t.Errorf("it told %q", told)
		}
	})
}

func TestARestoreReplacesTheInstances(t *testing.T) {
	watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "a", "10.0.0.1", 80)
		backup := r.Backup()
		r.Register("cart", "b", "10.0.0.2", 80)
		cart := service(t, w, "cart")
		r.Restore(backup)
		time.Sleep(10 * time.Second)
		if ids(cart) != "a" {
			t.Errorf("after the restore: %q", ids(cart))
		}
	})
}

func TestTheCacheServesAColdStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cache.json")
	watching(t, watch.Options{Cache: file}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "a", "10.0.0.1", 80)
		cart := service(t, w, "cart")
		r.Register("cart", "b", "10.0.0.2", 80)
		synctest.Wait()
		_ = cart
	})
	synctest.Test(t, func(t *testing.T) {
		r := clienttest.New()
		r.SetAway(errors.New("connection refused"))
		ctx, end := context.WithCancel(t.Context())
		time.Sleep(time.Minute)
		w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{Cache: file})
		cart := service(t, w, "cart")
		if s := cart.State(); ids(cart) != "a b" || s.Live || s.Age() < time.Minute || s.Age() > time.Hour {
			t.Errorf("from the cache: %q, age %v", ids(cart), s.Age())
		}
		unknown, err := w.Service(domain.ServiceKey{Service: "pay"})
		if err != nil {
			t.Fatal(err)
		}
		waiting, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := unknown.Wait(waiting); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("waiting for what the cache lacks: %v", err)
		}
		end()
		<-w.Done()
	})
	for what, damage := range map[string]func() error{
		"a damaged cache":             func() error { return errors.Join(os.Remove(file), os.WriteFile(file, []byte("{half"), 0o600)) },
		"a pipe in the cache's place": func() error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(what, err)
		}
		watching(t, watch.Options{Cache: file}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
			if s := w.State(); s.Err == nil || !strings.Contains(s.Err.Error(), "is not used") {
				t.Errorf("with %s: %+v", what, s)
			}
			r.Register("cart", "c", "10.0.0.1", 80)
			if cart := service(t, w, "cart"); ids(cart) != "c" || w.State().Err != nil {
				t.Errorf("%q, %+v", ids(cart), w.State())
			}
		})
	}
}

// A full disk is told of as what it is: the stream is up. The cache is written when there is space again, though nothing changes.
func TestACacheThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "gone")
	file := filepath.Join(folder, "cache.json")
	watching(t, watch.Options{Cache: file}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "a", "10.0.0.1", 80)
		service(t, w, "cart")
		time.Sleep(time.Minute)
		if s := w.State(); !s.Live || s.Err == nil || s.Err.Error() != "the cache "+file+" is not written: open: no such file or directory" {
			t.Errorf("without a folder: %+v", s)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"id":"a"`) || w.State().Err != nil {
			t.Errorf("with a folder: %s, %v, %+v", b, err, w.State())
		}
	})
}

func TestAClosedServiceIsNotFollowed(t *testing.T) {
	watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		one, two := service(t, w, "cart"), service(t, w, "cart")
		one.Close()
		one.Close()
		r.Register("cart", "a", "10.0.0.1", 80)
		synctest.Wait()
		if ids(two) != "a" {
			t.Errorf("the other handle: %q", ids(two))
		}
		two.Close()
		r.Asked()
		service(t, w, "pay")
		if asked := r.Asked(); len(asked) != 1 || strings.Contains(asked[0], "cart") {
			t.Errorf("asked %q", asked)
		}
		if _, err := w.Service(domain.ServiceKey{Service: "-"}); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("a bad name: %v", err)
		}
	})
}

func TestMoreServicesThanOneRequestCanNameAreRefused(t *testing.T) {
	watching(t, watch.Options{}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		long := strings.Repeat("a", 120)
		n := 0
		for ; ; n++ {
			s, err := w.Service(domain.ServiceKey{Service: fmt.Sprint(long, n)})
			if err != nil {
				if !errors.As(err, new(watch.TooMany)) {
					t.Error(err)
				}
				break
			}
			defer s.Close()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		for _, asked := range r.Asked() {
			if len(asked) > 64<<10 {
				t.Errorf("a request of %d bytes", len(asked))
			}
		}
		if n < 400 || n > 500 {
			t.Errorf("%d services fit", n)
		}
	})
}
