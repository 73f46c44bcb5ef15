package raftstore

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waited is how long the next block waits for callers, of which one comes after each of the pauses.
func waited(t *testing.T, all int, took time.Duration, pauses ...time.Duration) (wait time.Duration) {
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
		g.await(all, took, now())
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
		all    int
		took   time.Duration
		pauses []time.Duration
		waits  time.Duration
	}{
		{"all come", 8, 4 * ms, each(8, ms/4), 2 * ms},
		{"of many, a few may be missing", 32, 4 * ms, each(30, ms/10), 3 * ms},
		{"nobody comes", 8, 4 * ms, nil, 2 * ms},
		{"some come", 8, 4 * ms, each(3, ms/4), 3*ms/4 + 2*ms},
		{"they come slowly", 8, 4 * ms, each(8, ms), 4 * ms},
		{"a block took long", 8, 80 * ms, nil, returnFor / 2},
		{"there are few callers", 3, 4 * ms, nil, 0},
	} {
		if got := waited(t, test.all, test.took, test.pauses...); got != test.waits {
			t.Errorf("%s: the block waits %v, not %v", test.what, got, test.waits)
		}
	}
}
