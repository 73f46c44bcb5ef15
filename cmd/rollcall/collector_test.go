package main

import "testing"

func TestTheHeapGrowsByWhatIsAllocatedInASecond(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		live    uint64
		others  uint64
		load    allocating
		percent int
	}{
		"nothing lives, nothing is allocated":    {0, 0, 0, mostPercent},
		"at rest":                                {32 * mib, 0, 0, 50},
		"at rest beside stacks":                  {32 * mib, 8 * mib, 0, 40},
		"a lighter load":                         {40 * mib, 0, 3 * mib, 60},
		"a light load":                           {40 * mib, 0, 30 * mib, 100},
		"a load":                                 {40 * mib, 0, 60 * mib, 150},
		"a light load beside a middle-size heap": {100 * mib, 0, 30 * mib, 46},
		"a heavy load":                           {40 * mib, 0, 500 * mib, 220},
		"a heavy load beside a small heap":       {8 * mib, 0, 500 * mib, mostPercent},
		"a heavy load beside a smaller heap":     {20 * mib, 6 * mib, 500 * mib, 369},
		"a heavy load beside a middle-size heap": {100 * mib, 0, 500 * mib, growthPercent},
		"a large heap at rest":                   {1000 * mib, 0, 0, restingPercent},
		"a less large heap at rest":              {200 * mib, 0, 0, 8},
		"a large heap under a light load":        {400 * mib, 0, 8 * mib, 12},
		"a large heap under a heavy load":        {1000 * mib, 0, 500 * mib, growthPercent},
	} {
		if got := collectAfter(c.live, c.others, c.load); got != c.percent {
			t.Errorf("%s: the heap may grow by %d %%, want %d", name, got, c.percent)
		}
	}
}

// A load that comes meets a large heap at the next look, and a load that ends leaves the heap large for some seconds.
func TestTheRateOfAllocationRisesAtOnceAndFallsSlowly(t *testing.T) {
	rate := allocating(0).after(400)
	if rate != 400 {
		t.Errorf("after a second of 400 bytes the rate is %d", rate)
	}
	if rate = rate.after(0); rate != 300 {
		t.Errorf("after a second of nothing the rate is %d", rate)
	}
	if rate = rate.after(350); rate != 350 {
		t.Errorf("after a second of 350 bytes the rate is %d", rate)
	}
	for range 60 {
		rate = rate.after(0)
	}
	if rate > 4 {
		t.Errorf("after a minute of nothing the rate is %d", rate)
	}
}
