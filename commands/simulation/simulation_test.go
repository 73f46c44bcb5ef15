package simulation

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
)

// Seeds of an ordinary run. ROLLCALL_SEEDS asks for more, ROLLCALL_SEED for one.
const ordinarySeeds = 200

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
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				w.run(1200) // two minutes
				w.judge()
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
