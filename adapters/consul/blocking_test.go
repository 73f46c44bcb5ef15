package consul_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/consul"
)

func TestBlockingQueriesAreLimited(t *testing.T) {
	r := start(t, func(c *consul.Config) { c.MaxBlocked = 2 })
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	var entries []entry
	path := fmt.Sprintf("/v1/health/service/web?wait=10m&index=%d", r.get("/v1/health/service/web", &entries))
	clients, leave := context.WithCancel(t.Context())
	defer leave()
	left := make(chan int, 2) // how each client was answered; 0: it left before
	for range 2 {
		go func() {
			status := http.StatusTooManyRequests // while the queries below have its place
			for status == http.StatusTooManyRequests {
				status = 0
				request, err := http.NewRequestWithContext(clients, http.MethodGet, r.URL+path, nil)
				if err != nil {
					break
				}
				if resp, err := http.DefaultClient.Do(request); err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
			}
			left <- status
		}()
	}
	limited := func(want int) {
		t.Helper()
		for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			got := r.send("GET", "/v1/kv/a?wait=1ms&index=1", "").StatusCode
			if got == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("a further query is answered with %d, want %d", got, want)
			}
		}
	}
	limited(http.StatusTooManyRequests)
	if got := r.says("/v1/health/service/web"); got != "web " {
		t.Errorf("a query that does not block: %s", got)
	}
	leave() // clients that go away free their places
	for range 2 {
		if status := <-left; status != 0 {
			t.Errorf("a query was answered with %d", status)
		}
	}
	limited(http.StatusNotFound)
}
