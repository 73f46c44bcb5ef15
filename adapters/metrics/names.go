package metrics

import (
	"regexp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

// Names are the names of all metrics that are registered, sorted, also of those that have no value yet.
func (m *Metrics) Names() (names []string) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		m.registry.Describe(descs)
	}()
	for desc := range descs {
		if match := fqName.FindStringSubmatch(desc.String()); match != nil { // the library has no accessor
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
