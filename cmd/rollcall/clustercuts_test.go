package main

import (
	"math/rand/v2"
	"time"
)

// cuts are the shapes in which a cluster falls apart around a node. Each gives the ways through which nothing comes.
var cuts = map[string]func(victim string, ids []string) map[way]badness{
	"is cut off": func(victim string, ids []string) map[way]badness {
		return cutWays(ids, func(w way) bool { return w.from == victim || w.to == victim })
	},
	"is heard by nobody": func(victim string, ids []string) map[way]badness {
		return cutWays(ids, func(w way) bool { return w.from == victim })
	},
	"hears nobody": func(victim string, ids []string) map[way]badness {
		return cutWays(ids, func(w way) bool { return w.to == victim })
	},
	"is cut off from one": func(victim string, ids []string) map[way]badness {
		one := after(victim, ids)
		return cutWays(ids, func(w way) bool { return w == way{victim, one} || w == way{one, victim} })
	},
	"is not heard by one": func(victim string, ids []string) map[way]badness {
		one := after(victim, ids)
		return cutWays(ids, func(w way) bool { return w == way{victim, one} })
	},
	"reaches the next only, and so do the others": func(_ string, ids []string) map[way]badness {
		return cutWays(ids, func(w way) bool { return w.to != after(w.from, ids) })
	},
	"and all others are cut off": func(_ string, ids []string) map[way]badness {
		return cutWays(ids, func(way) bool { return true })
	},
}

// after is the node that follows another one in a ring.
func after(id string, ids []string) string {
	for i := range ids {
		if ids[i] == id {
			return ids[(i+1)%len(ids)]
		}
	}
	return ids[0]
}

func cutWays(ids []string, cut func(way) bool) map[way]badness {
	bad := map[way]badness{}
	for _, from := range ids {
		for _, to := range ids {
			if w := (way{from, to}); from != to && cut(w) {
				bad[w] = badness{cut: true}
			}
		}
	}
	return bad
}

// slow makes all ways slow and unreliable, each in its own measure.
func slow(ids []string, rng *rand.Rand) map[way]badness {
	bad := map[way]badness{}
	for _, from := range ids {
		for _, to := range ids {
			bad[way{from, to}] = badness{
				delay: time.Duration(rng.IntN(100)) * time.Millisecond, breaks: 0.02 * rng.Float64(), loses: 0.2 * rng.Float64(),
			}
		}
	}
	return bad
}
