package main

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// comeAndGo registers and deregisters 600,000 instances, each with an id of its own, and says how much memory lives afterwards.
func comeAndGo(t *testing.T, p *process) string {
	before := liveMemory(t, p)
	const ids, batch = 600_000, 100
	for from := 0; from < ids; from += batch {
		for _, command := range []string{`{"type":"RegisterInstance","service":"jobs","id":"j%d","address":"10.0.0.5","ttl":"1h"}`, `{"type":"DeregisterInstance","service":"jobs","id":"j%d"}`} {
			var items []string
			for i := from; i < from+batch; i++ {
				items = append(items, fmt.Sprintf(command, i))
			}
			status, reply, err := p.send("POST", "/v1/commands", "["+strings.Join(items, ",")+"]")
			if err != nil || status != 200 || strings.Contains(string(reply), `"problem"`) {
				t.Fatalf("%d %.300s %v", status, reply, err)
			}
		}
	}
	if n := len(p.instances("jobs")); n != 0 {
		t.Fatalf("%d instances are left", n)
	}
	after := before
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if after = liveMemory(t, p); after < before+32<<20 { // heads of streams are forgotten within 48 s
			break
		}
	}
	if after >= before+32<<20 {
		t.Errorf("%d MB live with none of them, and %d MB before", after>>20, before>>20)
	}
	return fmt.Sprintf("%d MB live before, %d MB afterwards", before>>20, after>>20)
}

var heapInUse = regexp.MustCompile(`(?m)^go_memstats_heap_alloc_bytes (\S+)$`)

// liveMemory is what the server's heap holds at least: the least of several looks, some of which come soon after a collection.
func liveMemory(t *testing.T, p *process) int {
	t.Helper()
	least := 1 << 60
	for range 20 {
		status, body, err := p.send("GET", "/metrics", "")
		found := heapInUse.FindSubmatch(body)
		if err != nil || status != 200 || found == nil {
			t.Fatalf("%d, %v, no go_memstats_heap_alloc_bytes", status, err)
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, int(n))
		time.Sleep(100 * time.Millisecond)
	}
	return least
}

// createWebhooks creates webhooks, and gives their ids.
func createWebhooks(t *testing.T, p *process, n int, spec func(i int) string) []string {
	t.Helper()
	ids := make([]string, n)
	var creating errgroup.Group
	creating.SetLimit(8)
	for i := range n {
		creating.Go(func() error {
			status, reply, err := p.send("POST", "/v1/webhooks", spec(i))
			var created struct{ ID string }
			if err != nil || status != 201 || json.Unmarshal(reply, &created) != nil {
				return fmt.Errorf("%d %s %w", status, reply, err)
			}
			ids[i] = created.ID
			return nil
		})
	}
	if err := creating.Wait(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// idleWebhooks creates webhooks to which nothing is due. The load is that they are there while instances change.
func idleWebhooks(t *testing.T, p *process) (load func() string) {
	before, began := liveMemory(t, p), time.Now()
	createWebhooks(t, p, 50_000, func(i int) string { return fmt.Sprintf(`{"url":"http://127.0.0.1:1/w%d","service":"s%d"}`, i, i%100) })
	took := time.Since(began)
	return func() string {
		slowest := slowestCommand(t, p, nil)
		return fmt.Sprintf("created within %.0f s, %d MB more; the slowest of 300 commands took %.0f ms", took.Seconds(), (liveMemory(t, p)-before)>>20, ms(slowest))
	}
}

// hangingWebhooks creates webhooks whose targets accept and never answer. The load is events for them, and changes and deletions of
// these webhooks meanwhile.
func hangingWebhooks(t *testing.T, p *process) (load func() string) {
	var targets []string
	for range 300 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		targets = append(targets, l.Addr().String())
	}
	ids := createWebhooks(t, p, 1500, func(i int) string { return fmt.Sprintf(`{"url":"http://%s/%d"}`, targets[i%len(targets)], i) })
	return func() string {
		return fmt.Sprintf("the slowest of 300 commands and 150 deletions took %.0f ms", ms(slowestCommand(t, p, ids)))
	}
}

// slowestCommand changes an instance 300 times, deletes every second time one of the webhooks, and says how long the slowest
// answer took. No command may wait for a delivery, which takes up to 10 s.
func slowestCommand(t *testing.T, p *process, webhooks []string) (slowest time.Duration) {
	do := func(method, path, body string) {
		began := time.Now()
		if status, reply, err := p.send(method, path, body); err != nil || status/100 != 2 {
			t.Errorf("%s %s: %d %s %v", method, path, status, reply, err)
		}
		slowest = max(slowest, time.Since(began))
	}
	for i := range 300 {
		do("PUT", "/v1/services/fleet/instances/i3000", fmt.Sprintf(`{"address":"10.0.0.5","ttl":"1h","version":"%d"}`, i))
		if i%2 == 0 && i/2 < len(webhooks) {
			do("DELETE", "/v1/webhooks/"+webhooks[i/2], "")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if slowest > 2*time.Second {
		t.Errorf("a command took %s", slowest)
	}
	return slowest
}
