package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
)

// The same holds when it is the database whose nodes are killed, frozen and cut off, its leader first of all.
func TestThreeNodesOverThreeOfTheDatabase(t *testing.T) {
	c := startOverThree(t, 0.3)
	c.torture(10*time.Second, func(rng *rand.Rand) {
		victim, _ := c.stores.Leader()
		if victim == nil || rng.IntN(4) == 0 {
			victim = c.stores.Nodes[rng.IntN(3)]
		}
		switch rng.IntN(4) {
		case 0:
			victim.Stop()
			time.Sleep(2 * time.Second)
			if err := victim.Restart(); err != nil {
				t.Error(err)
			}
		case 1:
			victim.Freeze()
			time.Sleep(time.Duration(1+rng.IntN(4)) * time.Second)
			victim.Thaw()
		case 2:
			victim.CutOff()
			time.Sleep(3 * time.Second)
			victim.Join()
		case 3:
			c.stores.Elect(c.stores.Nodes[rng.IntN(3)])
		}
		time.Sleep(time.Second)
	})
}

// What one node answered holds at every other at once: an instance that one has just registered renews at another,
// one that one has just taken out does not, though the others' catalogs are behind.
func TestAnAnswerHoldsAtEveryNodeAtOnce(t *testing.T) {
	c := startCluster(t)
	for i := range 40 {
		if i == 30 { // from here on every catalog is far behind
			c.store.Delay(150 * time.Millisecond)
			for n := range c.links { // subscriptions begin anew
				c.links[n].set(true)
				c.links[n].set(false)
			}
		}
		a, b := i%3, (i+1+i/3%2)%3
		path := fmt.Sprintf("/v1/services/web/instances/k%d", i%7)
		if status, body, _ := c.ask(a, "PUT", path, `{"address":"10.0.0.5","ttl":"1h"}`); status != 201 {
			t.Fatalf("round %d: node %d answers a registration with %d %s", i, a, status, body)
		}
		if status, body, _ := c.ask(b, "PUT", path+"/heartbeat", ""); status != 200 {
			t.Errorf("round %d: node %d answers a heartbeat right after node %d's registration with %d %s", i, b, a, status, body)
		}
		if status, body, _ := c.ask(b, "DELETE", path, ""); status != 200 {
			t.Errorf("round %d: node %d answers a DELETE with %d %s", i, b, status, body)
		}
		if status, body, _ := c.ask(a, "PUT", path+"/heartbeat", ""); status != 404 {
			t.Errorf("round %d: node %d answers a heartbeat right after node %d's DELETE with %d %s", i, a, b, status, body)
		}
	}
}

// While the database is frozen no node can take heartbeats: nobody is expired for that, though each was silent in
// the log for longer than its ttl.
func TestAFrozenDatabaseExpiresNobody(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	const instances, ttl = 12, 2 * time.Second
	stop := make(chan struct{})
	var group sync.WaitGroup
	for k := range instances {
		path := fmt.Sprintf("/v1/services/kept/instances/k%d", k)
		if status, body, _ := c.ask(k%3, "PUT", path, fmt.Sprintf(`{"address":"10.0.0.6","ttl":"%s"}`, ttl)); status != 201 {
			t.Fatal(status, string(body))
		}
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(300 * time.Millisecond):
					c.ask(k%3, "PUT", path+"/heartbeat", "")
				}
			}
		})
	}
	time.Sleep(time.Second)
	c.store.Freeze()
	time.Sleep(3 * ttl)
	c.store.Thaw()
	time.Sleep(2 * ttl)
	close(stop)
	group.Wait()
	status, body, _ := c.ask(0, "GET", "/v1/history?type=LeaseExpired", "")
	if status != 200 || strings.Contains(string(body), "LeaseExpired") {
		t.Errorf("%d %s", status, body)
	}
	time.Sleep(3 * ttl) // now they are silent
	if _, body, _ := c.ask(0, "GET", "/v1/history?type=LeaseExpired", ""); strings.Count(string(body), `"LeaseExpired"`) != instances {
		t.Errorf("of %d that fell silent these ended: %s", instances, body)
	}
}

// Each node writes again soon after the database has a new leader, whether the old one was killed or froze. The
// exact times are in esdbstore's tests, in simulated time; this one allows for a busy machine.
func TestEveryNodeWritesAgainAfterAFailOver(t *testing.T) {
	t.Parallel()
	for name, befalls := range map[string]func(*esdbtest.Server){"killed": (*esdbtest.Server).Stop, "frozen": (*esdbtest.Server).Freeze} {
		t.Run(name, func(t *testing.T) {
			c := startOverThree(t, 0.5)
			leader, _ := c.stores.Leader()
			began := time.Now()
			befalls(leader)
			var group sync.WaitGroup
			var wrote [3]time.Time
			for i := range c.nodes {
				group.Go(func() {
					for n := 0; wrote[i].IsZero(); n++ {
						path := fmt.Sprintf("/v1/services/web/instances/n%d-%d", i, n)
						if status, _, _ := c.ask(i, "PUT", path, `{"address":"10.0.0.5","ttl":"1h"}`); status == 201 {
							wrote[i] = time.Now()
						}
						if time.Since(began) > 30*time.Second {
							return
						}
					}
				})
			}
			group.Wait()
			_, led := c.stores.Leader()
			for i, at := range wrote {
				after := at.Sub(led)
				t.Logf("node %d wrote %s after the new leader, which came after %s", i, after.Round(time.Millisecond), led.Sub(began).Round(time.Millisecond))
				if after < 0 || after > 4*time.Second {
					t.Errorf("node %d wrote %s after the new leader", i, after)
				}
			}
		})
	}
}

// A new node without its database listens from the first moment: it lives, says why it is not ready, and answers
// everything else with a problem. It takes requests as soon as the database is there.
func TestANewNodeListensWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	store, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Stop)
	store.Stop()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	ask := func(method, path, body string) (int, string) {
		r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := nodeClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(b)
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the node never " + what)
			}
		}
	}
	args := []string{"--listen", address, "--store", store.ConnectionString()}
	ended := startInBackground(t, t.TempDir(), args...)
	until("listens", func() bool { status, _ := ask("GET", "/healthz", ""); return status == 200 })
	until("says why it is not ready", func() bool {
		status, body := ask("GET", "/readyz", "")
		return status == 503 && strings.Contains(body, "connection refused")
	})
	if status, body := ask("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5"}`); status != 503 || !strings.Contains(body, "urn:rollcall:problem:not-ready") {
		t.Errorf("a registration gets %d %s", status, body)
	}
	if err := store.Restart(); err != nil {
		t.Fatal(err)
	}
	until("gets ready", func() bool { status, _ := ask("GET", "/readyz", ""); return status == 200 })
	if status, body := ask("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5"}`); status != 201 {
		t.Errorf("with its database a registration gets %d %s", status, body)
	}
	if out, err := ended(syscall.SIGTERM); err != nil {
		t.Errorf("it ends with %v\n%s", err, out)
	}

	store.Stop()
	ended = startInBackground(t, t.TempDir(), args...)
	until("listens", func() bool { status, _ := ask("GET", "/healthz", ""); return status == 200 })
	if out, err := ended(syscall.SIGTERM); err != nil {
		t.Errorf("without its database it ends with %v\n%s", err, out)
	}
}

// startInBackground starts a server without waiting for it. The function ends it and returns what it said.
func startInBackground(t *testing.T, data string, args ...string) func(signal os.Signal) (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := exec.Command(path, append([]string{"serve", "--data", data}, args...)...)
	c.Stderr = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return func(signal os.Signal) (string, error) {
		if err := c.Process.Signal(signal); err != nil {
			return out.String(), err
		}
		err := c.Wait()
		return out.String(), err
	}
}

// What the database answers has a problem of its own, whatever it is: none is an internal error of the registry.
func TestWhateverTheDatabaseAnswersHasItsProblem(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	var answer atomic.Pointer[error] // what appends are answered with; nil: the database's own
	c.store.AnswerWith(func(method string) error {
		if e := answer.Load(); e != nil && method == "BatchAppend" {
			return *e
		}
		return nil
	})
	for _, row := range []struct {
		code   codes.Code
		status int
		kind   string
	}{
		{codes.OK, 201, ""}, {codes.DataLoss, 503, "store-refused"}, {codes.InvalidArgument, 503, "store-refused"}, {codes.PermissionDenied, 503, "store-denied"},
		{codes.Unauthenticated, 503, "store-denied"}, {codes.ResourceExhausted, 413, "too-large"}, {codes.OK, 201, ""},
	} {
		var err error
		if answer.Store(nil); row.code != codes.OK {
			err = status.Error(row.code, "as the test wants it")
			answer.Store(&err)
		}
		path := fmt.Sprintf("/v1/services/web/instances/%s-%d", row.code, time.Now().UnixNano())
		var got int
		var body []byte
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got, body, _ = c.ask(0, "PUT", path, `{"address":"10.0.0.5","ttl":"1h"}`); got == row.status && strings.Contains(string(body), row.kind) {
				break // after a refusal the node begins a new batch within a second
			}
		}
		if got != row.status || !strings.Contains(string(body), row.kind) {
			t.Errorf("%s is answered with %d %s, want %d %s", row.code, got, body, row.status, row.kind)
		}
	}
}

// Whom the database does not let in ends with one line that says so.
func TestBadCredentialsEndTheStart(t *testing.T) {
	t.Parallel()
	store, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Stop)
	store.AnswerWith(func(string) error { return status.Error(codes.Unauthenticated, "authentication failed") })
	_, errs, code := run(t, nil, "serve", "--data", t.TempDir(), "--store", store.ConnectionString(), "--listen", "127.0.0.1:0", "--log-level", "error")
	if code != 1 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "authentication failed") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if _, errs, code = run(t, nil, "migrate", "--from", t.TempDir(), "--to", store.ConnectionString()); code != 1 {
		t.Errorf("migrate: exit code %d, %s", code, errs)
	}
}
