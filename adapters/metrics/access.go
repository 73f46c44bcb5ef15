package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// WatchAccess adds how many callers were accepted and refused. A nil access has told of none.
func (m *Metrics) WatchAccess(a *web.Access) { m.registry.MustRegister(callers{a}) }

// callers collects how many callers were accepted and refused, by the way in which they are known.
type callers struct{ access *web.Access }

var callersTotal = prometheus.NewDesc("rollcall_access_callers_total", "Callers that were accepted or refused, by the way in which they are known.", []string{"method", "result"}, nil)

func (c callers) Describe(to chan<- *prometheus.Desc) { to <- callersTotal }

func (c callers) Collect(to chan<- prometheus.Metric) {
	for by, method := range web.Methods { // all of them from the start: no gap in a graph
		to <- prometheus.MustNewConstMetric(callersTotal, prometheus.CounterValue, float64(c.access.Told(web.Method(by), true)), method, "accepted")
		to <- prometheus.MustNewConstMetric(callersTotal, prometheus.CounterValue, float64(c.access.Told(web.Method(by), false)), method, "refused")
	}
}
