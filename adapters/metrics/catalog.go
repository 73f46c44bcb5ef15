package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// instances counts the catalog's instances by service, status and traffic whenever it is asked.
type instances struct {
	catalog func() *catalog.Catalog
	desc    *prometheus.Desc
}

func newInstances(c func() *catalog.Catalog) *instances {
	return &instances{c, prometheus.NewDesc("rollcall_instances", "Instances in the catalog by service, status and traffic.",
		[]string{"namespace", "service", "status", "traffic"}, nil)}
}

// Describe implements prometheus.Collector.
func (i *instances) Describe(descs chan<- *prometheus.Desc) { descs <- i.desc }

// Collect implements prometheus.Collector.
func (i *instances) Collect(metrics chan<- prometheus.Metric) {
	type state struct {
		service domain.ServiceKey
		status  domain.Status
		traffic domain.Traffic
	}
	counts := map[state]int{}
	for e := range i.catalog().All {
		counts[state{e.Service(), e.Status(), e.Traffic()}]++
	}
	for s, n := range counts {
		metrics <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, float64(n), s.service.Namespace, s.service.Service, string(s.status), string(s.traffic))
	}
}
