package raftstore

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waited is how long the next block waits after one of so many calls, which had so many requests. A call comes after each of the pauses.
func waited(t *testing.T, of, requests int, took time.Duration, pauses ...time.Duration) (wait time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		now := func() time.Duration { return time.Since(began) }
		var mu sync.Mutex
		mu.Lock()
		defer mu.Unlock()
		g := &gathering{}
		g.late = time.AfterFunc(time.Hour, func() {
			mu.Lock()
			defer mu.Unlock()
			if g.over(now()) {
				wait = now()
			}
		})
		defer g.late.Stop()
		g.await(of, requests, took, now())
		for _, pause := range pauses {
			mu.Unlock()
			time.Sleep(pause)
			synctest.Wait()
			mu.Lock()
			if g.most == 0 {
				return
			}
			g.came = now()
			if calls++; g.enough(calls, 0) {
				wait = now()
				return
			}
		}
		mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
	})
	return wait
}

func TestABlockWaitsForCallersWhileTheyCome(t *testing.T) {
	const ms = time.Millisecond
	each := func(n int, pause time.Duration) (pauses []time.Duration) {
		for range n {
			pauses = append(pauses, pause)
		}
		return pauses
	}
	for _, test := range []struct {
		what   string
		calls  int
		all    int // their requests
		took   time.Duration
		pauses []time.Duration
		waits  time.Duration
	}{
		{"all come", 8, 8, 4 * ms, each(8, ms/4), 2 * ms},
		{"of many, a few may be missing", 32, 32, 4 * ms, each(30, ms/10), 3 * ms},
		{"nobody comes", 8, 8, 2 * ms, nil, 2 * ms},
		{"nobody comes after a longer block", 8, 8, 4 * ms, nil, returnFor / 2},
		{"some come", 8, 8, 4 * ms, each(3, ms/4), 3*ms/4 + returnFor/2},
		{"they come slowly", 8, 8, 2 * ms, each(8, ms), 4 * ms},
		{"they come slowly after a longer block", 8, 8, 4 * ms, each(8, ms), returnFor},
		{"a block took long", 8, 8, 80 * ms, nil, returnFor / 2},
		{"there are few callers", 3, 3, 4 * ms, nil, 0},
		{"a call has the requests of many", 2, 8, 2 * ms, nil, 2 * ms},
		{"a caller alone has many requests", 1, 100, 4 * ms, nil, 0},
	} {
		if got := waited(t, test.calls, test.all, test.took, test.pauses...); got != test.waits {
			t.Errorf("%s: the block waits %v, not %v", test.what, got, test.waits)
		}
	}
}
