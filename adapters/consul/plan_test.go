package consul_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/consul"
)

// A registration keeps the checks that others give the instance, or take from it, while it is under way.
func TestARegistrationLosesNoCheckThatComesMeanwhile(t *testing.T) {
	r := start(t)
	const service = "/v1/agent/service/register"
	r.put(service, `{"Name":"web","Port":80}`)
	var registering, checking sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		registering.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if reply := r.send("PUT", service, fmt.Sprintf(`{"Name":"web","Port":80,"Meta":{"n":"%d"}}`, i)); reply.StatusCode != 200 {
					t.Errorf("a registration: %d %s", reply.StatusCode, reply.body)
				}
			}
		})
	}
	for n := range 3 {
		checking.Go(func() {
			for i := range 4 {
				check := fmt.Sprintf("c%d-%d", n, i)
				steps := [][2]string{
					{"/v1/agent/check/register", fmt.Sprintf(`{"Name":%q,"TTL":"10m","ServiceID":"web","Status":"passing"}`, check)},
					{"/v1/agent/check/deregister/" + check, ""},
				}
				if i == 3 {
					steps = steps[:1] // the last one stays
				}
				for _, step := range steps {
					if reply := r.send("PUT", step[0], step[1]); reply.StatusCode != 200 {
						t.Errorf("PUT %s: %d %s", step[0], reply.StatusCode, reply.body)
					}
				}
			}
		})
	}
	checking.Wait()
	close(over)
	registering.Wait()
	if got := r.says("/v1/health/service/web"); strings.Count(got, "=") != 3 || strings.Count(got, "-3=passing") != 3 {
		t.Errorf("at the end there is %s, want the last check of each client", got)
	}
}

// Checks that several clients write for one service at once are all kept.
func TestChecksThatAreWrittenAtOnceAreKept(t *testing.T) {
	r := start(t)
	var writing sync.WaitGroup
	for n := range 4 {
		writing.Go(func() {
			for i := range 5 {
				body := fmt.Sprintf(`{"Node":"esm","Address":"10.9.9.9","Service":{"Service":"ext","Port":1},"Check":{"CheckID":"k%d-%d","Name":"k","Status":"passing","ServiceID":"ext"}}`, n, i)
				if reply := r.send("PUT", "/v1/catalog/register", body); reply.StatusCode != 200 {
					t.Errorf("%d %s", reply.StatusCode, reply.body)
				}
			}
		})
	}
	writing.Wait()
	if got := r.says("/v1/health/service/ext"); strings.Count(got, "=passing") != 20 {
		t.Errorf("there is %s, want 20 checks of one instance", got)
	}
}

// An id is one instance at its node, also when a client that got no reply sends its registration twice at once, and after
// registrations under several names.
func TestAnIDIsOneInstanceAtItsNode(t *testing.T) {
	r := start(t)
	for i := range 8 {
		var sending sync.WaitGroup
		for range 4 {
			sending.Go(func() {
				reply := r.send("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"ID":"w%d","Name":"web","Port":80,"Check":{"TTL":"1m"}}`, i))
				if reply.StatusCode != http.StatusOK {
					t.Errorf("%d %s", reply.StatusCode, reply.body)
				}
			})
		}
		sending.Wait()
	}
	var entries []entry
	if r.get("/v1/health/service/web", &entries); len(entries) != 8 {
		t.Errorf("there are %d instances, want 8", len(entries))
	}
	move := func(i int) {
		var sending sync.WaitGroup
		for n := range 3 {
			sending.Go(func() {
				r.send("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"ID":"moving%d","Name":"name%d","Port":80}`, i, n))
			})
		}
		sending.Wait()
	}
	for i := range 8 {
		move(i)
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"moving%d","Name":"name0","Port":80}`, i))
	}
	names := func(want ...int) {
		t.Helper()
		for n, want := range want {
			if r.get(fmt.Sprintf("/v1/health/service/name%d", n), &entries); len(entries) != want {
				t.Errorf("%d instances have name%d, want %d", len(entries), n, want)
			}
		}
	}
	names(8, 0, 0)
	for i := range 8 {
		move(i)
		r.put(fmt.Sprintf("/v1/agent/service/deregister/moving%d", i), "")
	}
	names(0, 0, 0)
}

// In Consul the id of a check is one check of a node: a process that starts under another id of its service, with the same id of
// its check, reports its own check and not that of the process before it.
func TestTheIDOfACheckIsThatOfTheNewestRegistration(t *testing.T) {
	r := start(t)
	for n := range 3 {
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"app-%d","Name":"app","Port":80,"Check":{"CheckID":"heartbeat/1","TTL":"1h"}}`, n))
		r.put("/v1/agent/check/fail/heartbeat%2F1", "")
		r.put("/v1/agent/check/pass/heartbeat%2F1", "")
		r.put("/v1/agent/check/fail/heartbeat%2F1", "")
	}
	again := consul.New(r.config) // remembers nothing
	server := httptest.NewServer(again)
	defer server.Close()
	other := *r
	other.Server = server
	other.put("/v1/agent/check/pass/heartbeat%2F1", "")
	if got, want := r.says("/v1/health/service/app"), "app-0 heartbeat/1=critical; app-1 heartbeat/1=critical; app-2 heartbeat/1=passing"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
