package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ask asks an API, and gives the status, whether the answer is stale, and the body.
func ask(api *agent.API, path string) (int, string, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "localhost:7701"
	api.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Rollcall-Stale"), w.Body.String()
}

// register registers an instance in any namespace.
func register(t *testing.T, r *clienttest.Registry, ns, service, id string, change ...func(*domain.Details)) {
	t.Helper()
	details := domain.Details{Address: "10.0.0.1", Weight: domain.DefaultWeight, TTL: domain.Duration(domain.MaxTTL)}
	for _, f := range change {
		f(&details)
	}
	if err := r.Do(domain.RegisterInstance{Key: domain.Key{Namespace: ns, Service: service, ID: id}, Details: details}); err != nil {
		t.Fatal(err)
	}
}

func fleet(t *testing.T) *clienttest.Registry {
	r := clienttest.New()
	register(t, r, "default", "cart", "c-1")
	register(t, r, "default", "cart", "c-2", func(d *domain.Details) { d.Status, d.Zone = domain.Critical, "b" })
	register(t, r, "default", "Cart", "upper")
	register(t, r, "prod", "pay", "p-1")
	return r
}

// apiOf runs a test with the API of an agent with a cache.
func apiOf(t *testing.T, r *clienttest.Registry, cache string, test func(api *agent.API, w *watch.Watcher)) {
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{Cache: cache})
	test(agent.NewAPI(w, "", web.NewHosts("127.0.0.1:7701", nil), func() []error { return nil }), w)
	end()
	<-w.Done()
}

func TestListsAreAnsweredFromTheCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache.json")
	lists := map[string]string{
		"/v1/services": "Cart 1/1, cart 2/1", "/v1/services?ns=prod": "pay 1/1", "/v1/services?namespace=*": "Cart 1/1, cart 2/1, pay 1/1", "/v1/services?ns=none": "",
		"/v1/catalog": "Cart 1, cart 2, pay 1", "/v1/catalog?ns=default&status=critical": "cart 1", "/v1/catalog?zone=b": "cart 1", "/v1/catalog?zone=z": "", "/v1/catalog?ns=prod&ready=true": "pay 1",
	}
	check := func(api *agent.API, wantStale string) {
		t.Helper()
		for path, want := range lists {
			status, stale, body := ask(api, path)
			var list struct {
				Services []struct {
					Service   string
					Ready     int
					Instances json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || stale != wantStale {
				t.Errorf("%s: %d, stale %s, %s", path, status, stale, body)
				continue
			}
			var got []string
			for _, s := range list.Services {
				var instances []wire.Instance
				if json.Unmarshal(s.Instances, &instances) == nil {
					got = append(got, s.Service+" "+string(rune('0'+len(instances))))
				} else {
					got = append(got, s.Service+" "+string(s.Instances)+"/"+string(rune('0'+s.Ready)))
				}
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		if status, _, body := ask(api, "/v1/services/cart"); status != 200 || !strings.Contains(body, `"instances":2,"ready":1,"statuses":{"critical":1,"passing":1}`) {
			t.Errorf("one service: %d %s", status, body)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := fleet(t)
		apiOf(t, r, cache, func(api *agent.API, _ *watch.Watcher) {
			for path, want := range map[string]int{
				"/v1/services/none": 404, "/v1/services/-": 422, "/v1/services?status=critical": 422, "/v1/services?ns=A": 422, "/v1/services?ns=": 422, "/v1/catalog?limit=5": 422,
				"/v1/catalog?at=1h+ago": 422, "/v1/catalog?ready=maybe": 422, "/v1/services/cart?zone=b": 422, "/v1/services?ns=prod&ns=default": 422,
			} {
				if status, _, body := ask(api, path); status != want {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			check(api, "false")
			r.Asked()
			if status, _, _ := ask(api, "/v1/services/some-name/instances"); status != 200 || len(r.Asked()) != 0 {
				t.Error("a service that is not in the catalog is asked for")
			}
		})
	})
	synctest.Test(t, func(t *testing.T) { // both were restarted, and the registry is away
		r := clienttest.New()
		r.SetAway(errors.New("connection refused"))
		apiOf(t, r, cache, func(api *agent.API, _ *watch.Watcher) { check(api, "true") })
		apiOf(t, r, "", func(api *agent.API, _ *watch.Watcher) {
			began := time.Now()
			if status, _, body := ask(api, "/v1/services"); status != 503 || !strings.Contains(body, "registry-unreachable") || time.Since(began) > 3*time.Second {
				t.Errorf("without a cache: %d %s", status, body)
			}
		})
	})
}

func TestTheDirectoryFindsNamesWithoutCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fleet(t)
		r.SetAway(errors.New("connection refused"))
		apiOf(t, r, "", func(_ *agent.API, w *watch.Watcher) {
			d := agent.NewDirectory(w.Catalog())
			if d.Ready() == nil {
				t.Error("it is ready before the registry was reached")
			}
			r.SetAway(nil)
			time.Sleep(time.Minute)
			if err := d.Ready(); err != nil {
				t.Error(err)
			}
			found := func(ns, name string) string {
				g := d.Find(ns, name)
				if g == nil {
					return "none"
				}
				var ids []string
				for _, i := range g.Instances() {
					ids = append(ids, i.ID)
				}
				return strings.Join(ids, " ")
			}
			for name, want := range map[string]string{"default/cart": "upper c-1 c-2", "prod/pay": "p-1", "prod/cart": "none", "default/Cart": "none"} {
				ns, service, _ := strings.Cut(name, "/")
				if got := found(ns, service); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
			before := d.Find("default", "cart")
			made := 0
			value := func() any { made++; return made }
			if a, b := before.Value("x", value), before.Value("x", value); a != 1 || b != 1 {
				t.Errorf("a value is made more than once: %v, %v", a, b)
			}
			for _, key := range []domain.Key{{Namespace: "default", Service: "Cart", ID: "upper"}, {Namespace: "prod", Service: "pay", ID: "p-1"}} {
				if err := r.Do(domain.DeregisterInstance{Key: key}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			r.SetAway(errors.New("connection refused"))
			time.Sleep(time.Minute)
			if found("default", "cart") != "c-1 c-2" || found("prod", "pay") != "none" || d.HasNamespace("prod") || !d.HasNamespace("default") || d.Ready() != nil {
				t.Errorf("after two left, and the registry too: %s", found("default", "cart"))
			}
			if after := d.Find("default", "cart"); after == before || after.Value("x", value) != 2 || len(before.Instances()) != 3 {
				t.Error("a group changed")
			}
			n := 0
			for range d.All {
				n++
			}
			if n != 2 {
				t.Errorf("%d instances", n)
			}
		})
	})
}

func TestInstancesArePickedByTheirChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fleet(t)
		register(t, r, "default", "cart", "sick", func(d *domain.Details) {
			d.Checks = []domain.Check{{ID: "web", Kind: domain.CheckTTL, TTL: domain.Duration(time.Minute), InitialStatus: domain.Critical}}
		})
		apiOf(t, r, "", func(api *agent.API, _ *watch.Watcher) {
			for filter, want := range map[string]int{"check=web": 1, "check=web:critical": 1, "check=*:critical": 1, "check=web:passing": 0, "check=other": 0} {
				status, _, body := ask(api, "/v1/services/cart/instances?"+filter)
				if n := strings.Count(body, `"id":"sick"`); status != 200 || n != want || strings.Contains(body, `"id":"c-1"`) {
					t.Errorf("%s: %d %s", filter, status, body)
				}
			}
		})
	})
}
