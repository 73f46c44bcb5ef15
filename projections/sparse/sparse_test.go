package sparse_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/projections/sparse"
)

func TestAListIsAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list sparse.List[int]
		model := map[uint32]*int{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			n := rapid.Uint32Range(0, 2000).Draw(t, "number")
			var to *int
			if rapid.Bool().Draw(t, "set") {
				to = new(int)
			}
			list.Set(n, to)
			model[n] = to
			for n, want := range model {
				if got := list.At(n); got != want {
					t.Fatalf("%d stands for %v, want %v", n, got, want)
				}
			}
		}
		if list.At(1<<31) != nil {
			t.Fatal("a number that was never set stands for something")
		}
	})
}

func TestAListOfWhatWasTakenOutTakesNoMemory(t *testing.T) {
	var list sparse.List[int]
	const numbers = 100_000
	value := new(int)
	grown := testing.AllocsPerRun(1, func() {
		for n := range uint32(numbers) {
			list.Set(n, value)
			list.Set(n, nil)
		}
	})
	again := testing.AllocsPerRun(1, func() { list.Set(5, value); list.Set(5, nil) })
	if again < 1 {
		t.Errorf("a page that holds nothing was kept; %v pages were made for %d numbers", grown, numbers)
	}
}
