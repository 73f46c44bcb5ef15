package domain_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

// A state of policies is what a map of them would be, and a later event changes no earlier state.
func TestPoliciesAreAFoldThatChangesNoEarlierState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			state domain.Policies
			is    map[string]domain.Amount
		}
		state, is, all := domain.Policies{}, map[string]domain.Amount{}, []kept{}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			name := fmt.Sprint("p", rapid.IntRange(0, 9).Draw(t, "name"))
			if rapid.Bool().Draw(t, "removes") {
				state, is = state.Apply(domain.PolicyRemoved{Name: name}, domain.Recorded{}), maps.Clone(is)
				delete(is, name)
			} else {
				ready := domain.Amount(fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "ready")))
				state, is = state.Apply(domain.PolicySet{Name: name, PolicySpec: domain.PolicySpec{MinReady: ready}}, domain.Recorded{Actor: "ops"}), maps.Clone(is)
				is[name] = ready
			}
			all = append(all, kept{state, is})
		}
		for n, k := range all {
			if k.state.Events != uint64(n)+1 || len(k.state.List()) != len(k.is) || !slices.IsSortedFunc(k.state.List(), func(a, b *domain.Policy) int { return cmp.Compare(a.Name, b.Name) }) {
				t.Fatalf("after %d events: %d events, %v in place of %v", n+1, k.state.Events, k.state.List(), k.is)
			}
			for i := range 10 {
				name := fmt.Sprint("p", i)
				p, want := k.state.Find(name), k.is[name]
				if (p != nil) != (want != "") || p != nil && (p.MinReady != want || p.By != "ops") {
					t.Fatalf("after %d events, %s is %v in place of %q", n+1, name, p, want)
				}
			}
		}
	})
}
