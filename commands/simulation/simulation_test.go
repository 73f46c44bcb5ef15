package simulation

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

// Seeds of an ordinary run. ROLLCALL_SEEDS asks for more, ROLLCALL_SEED for one.
const (
	ordinarySeeds = 200
	clusterSeeds  = 2
)

// everyRun is what happens in some world of an ordinary run, or the run says little.
var everyRun = []string{
	"a late deregistration by its owner is refused", "a late deregistration by its revision is refused", "a late deregistration by its epoch is refused",
	"a late report of health is refused", "a late drain is refused", "a late heartbeat is refused", "a late update is refused",
	"several heartbeats in a batch", "a key that is named twice in a batch is refused", "maintenance ends where nothing is live",
	"a crowd falls silent", "self-preservation started", "an operator held expiry", "an operator ended self-preservation",
	"a check lapses", "a check changes by a report", "a lease lapses to critical", "a heartbeat gives back a status", "an instance that stays critical is removed",
	"the wall clock steps", "a wrong clock is put right", "an interruption is told",
	"a revert is carried out", "a revert is refused",
}

// Whatever happens to processes, nodes, clocks and the store, the log tells what was so, and answers stand.
func TestTheLogTellsTheTruth(t *testing.T) {
	first, n := uint64(1), uint64(ordinarySeeds)
	if s := os.Getenv("ROLLCALL_SEED"); s != "" {
		first, n = number(t, s), 1
	} else if s := os.Getenv("ROLLCALL_SEEDS"); s != "" {
		n = number(t, s)
	} else if testing.Short() {
		n = 20
	}
	var mu sync.Mutex
	seen := map[string]int{}
	t.Cleanup(func() { // when all worlds are over
		for _, what := range everyRun {
			if n >= ordinarySeeds && seen[what] == 0 && !t.Failed() {
				t.Errorf("in none of %d worlds this happened: %s", n, what)
			}
		}
		t.Logf("in %d worlds: %v", n, seen)
	})
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				w.run(1200) // two minutes
				w.judge()
				mu.Lock()
				defer mu.Unlock()
				for what, times := range w.seen {
					seen[what] += times
				}
				w.tellIfFailed(seed)
			})
		})
	}
}

// What holds of one store holds of a cluster of three nodes, each with a store of its own, whatever happens to the nodes and
// the links between them.
func TestTheLogOfAClusterTellsTheTruth(t *testing.T) {
	first, n, steps := uint64(1), uint64(clusterSeeds), 1200 // two minutes
	if s := os.Getenv("ROLLCALL_SEED"); s != "" {
		first, n = number(t, s), 1
	} else if s := os.Getenv("ROLLCALL_SEEDS"); s != "" {
		n = max(number(t, s)/50, clusterSeeds)
	} else {
		steps = 400
	}
	var mu sync.Mutex
	seen := map[string]int{}
	t.Cleanup(func() { t.Logf("in %d worlds: %v", n, seen) })
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newClusterWorld(t, seed)
				w.run(steps)
				w.judge()
				mu.Lock()
				defer mu.Unlock()
				for what, times := range w.seen {
					seen[what] += times
				}
				w.tellIfFailed(seed)
			})
		})
	}
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tellIfFailed tells how to have a world's story again that the log does not tell.
func (w *world) tellIfFailed(seed uint64) {
	if !w.t.Failed() {
		return
	}
	w.t.Logf("ROLLCALL_SEED=%d replays this: %+v", seed, w.plan)
	if os.Getenv("ROLLCALL_SEED") != "" {
		for _, line := range w.story {
			w.t.Log(line)
		}
	}
}
