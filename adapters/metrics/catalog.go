package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// instances counts the catalog's instances by service, status and traffic, and their checks, whenever it is asked.
type instances struct {
	catalog                func() *catalog.Catalog
	now                    func() time.Time
	desc, checks, flapping *prometheus.Desc
}

func newInstances(c func() *catalog.Catalog, now func() time.Time) *instances {
	return &instances{
		catalog: c, now: now,
		desc: prometheus.NewDesc("rollcall_instances", "Instances in the catalog by service, status and traffic.",
			[]string{"namespace", "service", "status", "traffic"}, nil),
		checks:   prometheus.NewDesc("rollcall_checks", "Checks in the catalog by kind and status.", []string{"kind", "status"}, nil),
		flapping: prometheus.NewDesc("rollcall_checks_flapping", "Checks that changed their status very often of late, by kind.", []string{"kind"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (i *instances) Describe(descs chan<- *prometheus.Desc) {
	descs <- i.desc
	descs <- i.checks
	descs <- i.flapping
}

// Collect implements prometheus.Collector.
func (i *instances) Collect(metrics chan<- prometheus.Metric) {
	counts := i.catalog().Counts(i.now())
	for _, kind := range []domain.CheckKind{domain.CheckTTL, domain.CheckHTTP, domain.CheckTCP, domain.CheckGRPC} { // no gap in a graph
		counts.Checks[catalog.CheckGroup{Kind: kind, Status: domain.Critical}] += 0
		counts.Flapping[kind] += 0
	}
	for c, n := range counts.Checks {
		metrics <- prometheus.MustNewConstMetric(i.checks, prometheus.GaugeValue, float64(n), string(c.Kind), string(c.Status))
	}
	for kind, n := range counts.Flapping {
		metrics <- prometheus.MustNewConstMetric(i.flapping, prometheus.GaugeValue, float64(n), string(kind))
	}
	for c, n := range counts.Instances {
		metrics <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, float64(n), c.Service.Namespace, c.Service.Service, string(c.Status), string(c.Traffic))
	}
}
