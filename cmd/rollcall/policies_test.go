package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestPoliciesFromTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	env := []string{"ROLLCALL_URL=" + p.url}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"register checkout/a-1 --address 10.0.0.5 --ttl 1m", 0, "created"},
		{"policy set keep --service check* --min-ready 1", 0, "policy keep set"},
		{"policy set calm -A --max-removals 20/10m", 0, "policy calm set"},
		{"policy set calm --max-removals 20", 2, "must be a number and a span"},
		{"policy set none", 2, "min_ready is needed"},
		{"policy list", 0, "max_removals 20 within 10 m"},
		{"policy list -o name", 0, "calm\nkeep\n"},
		{"policy show keep", 0, "min_ready 1"},
		{"policy show nothing", 3, `policy "nothing" does not exist`},
		{"drain checkout/a-1", 1, "policy keep, set by anonymous at "},
		{"deregister checkout/a-1", 1, "keeps 1 of the instances of default/checkout ready (1 of 1): 1 are ready, and 0 would be left"},
		{"drain checkout/a-1 --force", 2, "reason is needed with force"},
		{"drain checkout/a-1 --force --reason broken", 0, "is draining"},
		{"why checkout/a-1", 0, "forced past policy keep"},
		{"policy remove keep --reason over", 0, "removed"},
		{"history -A --type PolicySet,PolicyRemoved", 0, "policy keep removed: over"},
	} {
		out, errs, code := run(t, env, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s gave %d, %s%s, not %d and %q", c.args, code, out, errs, c.code, c.want)
		}
	}
}

// Operators at three nodes over one event store remove instances at once. A policy holds for all of them together.
func TestThreeNodesHoldAPolicyTogether(t *testing.T) {
	c := startAnywhere(t)
	const instances, kept = 9, 4
	for i := range instances {
		if status, body, _ := c.ask(0, http.MethodPut, c.path("guarded", fmt.Sprint(i)), `{"address":"10.0.0.5","ttl":"10m"}`); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}
	policy := fmt.Sprintf(`{"namespace":%q,"min_ready":"%d"}`, c.ns, kept)
	if status, body, _ := c.ask(0, http.MethodPut, "/v1/policies/keep", policy); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for i := range c.nodes {
		for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if status, _, _ := c.ask(i, http.MethodGet, "/v1/policies/keep", ""); status == http.StatusOK {
				break
			}
			if time.Now().After(limit) {
				t.Fatal("a node does not see the policy")
			}
		}
	}
	var done, guarded atomic.Int32
	var group sync.WaitGroup
	for i := range instances {
		group.Go(func() {
			for range 50 {
				status, body, _ := c.ask(i%len(c.nodes), http.MethodDelete, c.path("guarded", fmt.Sprint(i)), "")
				switch {
				case status == http.StatusOK:
					done.Add(1)
				case strings.Contains(string(body), "guarded"):
					guarded.Add(1)
				case strings.Contains(string(body), "contended"):
					continue
				default:
					t.Errorf("%d %s", status, body)
				}
				return
			}
		})
	}
	group.Wait()
	var list wire.InstanceList
	_, body, _ := c.ask(1, http.MethodGet, "/v1/services/guarded/instances?ready=true&ns="+c.ns, "")
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	if done.Load() != instances-kept || guarded.Load() != kept {
		t.Errorf("%d were removed, %d refused", done.Load(), guarded.Load())
	}
}

// The same mistake is taken back at three nodes over one event store at once. Each instance is reverted once, whatever node
// does it, and each node tells what it did and what was done before.
func TestThreeNodesTakeAMistakeBackOnce(t *testing.T) {
	c := startAnywhere(t)
	const instances = 6
	var position uint64
	for i := range instances {
		_, at := c.surely(0, http.MethodPut, c.path("mistaken", fmt.Sprint(i)), `{"address":"10.0.0.5","ttl":"10m"}`, http.StatusCreated, http.StatusOK)
		position = max(position, at)
	}
	for i := range instances {
		method, path, body := http.MethodDelete, c.path("mistaken", fmt.Sprint(i)), ""
		if i%2 == 0 {
			method, path, body = http.MethodPut, strings.Replace(path, "?", "/traffic?", 1), `{"traffic":"draining"}`
		}
		c.surely(i%len(c.nodes), method, path, body, http.StatusOK, http.StatusGone)
	}
	body := fmt.Sprintf(`{"namespace":%q,"service":"mistaken","to":"%d","reason":"wrong service"}`, c.ns, position)
	var done, lost atomic.Int32
	var group sync.WaitGroup
	for i := range c.nodes {
		group.Go(func() {
			for began := time.Now(); time.Since(began) < time.Minute; { // a node that lags plans less
				status, reply, _ := c.ask(i, http.MethodPost, "/v1/reverts", body)
				if status == 0 { // no answer in time: it may have done some
					lost.Add(1)
					continue
				}
				var told wire.Revert
				if err := json.Unmarshal(reply, &told); status != http.StatusOK || err != nil {
					t.Errorf("node %d: %d %s", i, status, reply)
					return
				}
				done.Add(int32(told.Instances))
				for _, s := range told.Skipped {
					if s.Why != "changed" {
						t.Errorf("node %d skipped %+v", i, s)
					}
				}
				if len(told.Steps)+len(told.Skipped) > 0 {
					continue
				}
				list, _ := c.surely(i, http.MethodGet, "/v1/services/mistaken/instances?ready=true&ns="+c.ns, "", http.StatusOK)
				if strings.Count(string(list), `"id":`) == instances {
					return
				}
			}
			t.Errorf("node %d always finds more to revert", i)
		})
	}
	group.Wait()
	if done.Load() != instances && lost.Load() == 0 {
		t.Errorf("%d instances were reverted, want %d", done.Load(), instances)
	}
	for i := range instances {
		reply, _ := c.surely(1, http.MethodGet, strings.Replace(c.path("mistaken", fmt.Sprint(i)), "?", "/history?", 1), "", http.StatusOK)
		if n := strings.Count(string(reply), `wrong service`); n == 0 || strings.Count(string(reply), `"reverts":`) != 1 {
			t.Errorf("the history of %d is %s", i, reply)
		}
	}
}

// surely asks until there is an answer with one of the statuses.
func (c *cluster) surely(i int, method, path, body string, statuses ...int) ([]byte, uint64) {
	c.t.Helper()
	for began := time.Now(); ; {
		status, reply, at := c.ask(i, method, path, body)
		if slices.Contains(statuses, status) {
			return reply, at
		}
		if status != 0 && status != http.StatusServiceUnavailable || time.Since(began) > time.Minute {
			c.t.Fatalf("%s %s gave %d %s", method, path, status, reply)
		}
	}
}
