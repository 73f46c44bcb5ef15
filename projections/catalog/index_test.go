package catalog

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever comes and goes, the index finds what a map would.
func TestTheIndexFindsWhatWasSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), map[string]int{}
	for step := range 200_000 {
		name := fmt.Sprint("default/web/i", rng.IntN(3000))
		if rng.IntN(2) == 0 {
			want[name] = step
			x.set(&Entry{name: name}, step)
		} else {
			delete(want, name)
			x.remove(name)
		}
	}
	used := 0
	for i := range x.shards {
		used += x.shards[i].used
	}
	if used != len(want) {
		t.Errorf("%d places are used for %d names", used, len(want))
	}
	for i := range 3000 {
		name := fmt.Sprint("default/web/i", i)
		slot, ok := want[name]
		p, found := x.get(name), x.find([]byte(name))
		if ok != (found != nil) || found != p.entry || ok && (int(p.slot) != slot || found.name != name) {
			t.Fatalf("%s is %+v, %+v; want slot %d, %v", name, p, found, slot, ok)
		}
	}
}
