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
const ordinarySeeds = 200

// everyRun is what happens in some world of an ordinary run, or the run says little.
var everyRun = []string{
	"a late deregistration by its owner is refused", "a late deregistration by its revision is refused", "a late deregistration by its epoch is refused",
	"a late report of health is refused", "a late drain is refused", "a late heartbeat is refused", "a late update is refused",
	"several heartbeats in a batch", "a key that is named twice in a batch is refused", "maintenance ends where nothing is live",
	"a crowd falls silent", "self-preservation started", "an operator held expiry", "an operator ended self-preservation",
	"a check lapses", "a check changes by a report", "a lease lapses to critical", "a heartbeat gives back a status", "an instance that stays critical is removed",
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
				if t.Failed() {
					t.Logf("ROLLCALL_SEED=%d replays this: %+v", seed, w.plan)
					if os.Getenv("ROLLCALL_SEED") != "" {
						for _, line := range w.story {
							t.Log(line)
						}
					}
				}
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
