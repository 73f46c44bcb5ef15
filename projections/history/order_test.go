package history_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/projections/history"
)

func TestNamesComeInTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{}
		shared := rapid.SampledFrom([]string{"", "default/web/", "a"}).Draw(t, "shared")
		part := rapid.StringOfN(rapid.SampledFrom([]rune("ab/\x00é9")), 0, 12, -1)
		for range rapid.SampledFrom([]int{0, 1, 2, 20, 600}).Draw(t, "names") {
			names = append(names, shared+part.Draw(t, "name"))
		}
		if rapid.Bool().Draw(t, "other") {
			names = append(names, "b")
		}
		want := slices.Sorted(slices.Values(names))
		if history.InOrder(names); !slices.Equal(names, want) {
			t.Fatalf("the order is %q, want %q", names, want)
		}
	})
}
