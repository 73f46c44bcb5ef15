package httpapi

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestThePolicysServicesAreThoseThatItMatches(t *testing.T) {
	var services []domain.ServiceKey
	for _, ns := range []string{"default", "prod", "prod-eu", "shop"} {
		for _, name := range []string{"api", "pay", "pay-eu", "web"} {
			services = append(services, domain.ServiceKey{Namespace: ns, Service: name})
		}
	}
	index := concernedOf(services)
	rapid.Check(t, func(t *rapid.T) {
		spec := domain.PolicySpec{
			Namespace: domain.Pattern(rapid.SampledFrom([]string{"*", "p*", "prod", "prod*", "shop", "a", "none", "z*"}).Draw(t, "namespace")),
			Service:   domain.Pattern(rapid.SampledFrom([]string{"*", "pay", "pay*", "web", "none", "n*"}).Draw(t, "service")),
		}
		want := slices.DeleteFunc(slices.Clone(services), func(key domain.ServiceKey) bool { return !spec.Matches(key) })
		got := slices.Collect(index.by(spec))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v: %v, want %v", spec, got, want)
		}
		for first := range index.by(spec) { // the first one is enough
			if first != want[0] {
				t.Fatalf("%v begins with %v, want %v", spec, first, want[0])
			}
			break
		}
	})
}
