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
	type state struct {
		service domain.ServiceKey
		status  domain.Status
		traffic domain.Traffic
	}
	type check struct {
		kind   domain.CheckKind
		status domain.Status
	}
	counts := map[state]int{}
	checks, flapping := map[check]int{}, map[domain.CheckKind]int{}
	for _, kind := range []domain.CheckKind{domain.CheckTTL, domain.CheckHTTP, domain.CheckTCP, domain.CheckGRPC} {
		checks[check{kind, domain.Critical}], flapping[kind] = 0, 0 // no gap in a graph
	}
	now := i.now()
	for e := range i.catalog().All {
		if e.Service().Namespace == domain.RegistryNamespace {
			continue // rollcall_nodes
		}
		counts[state{e.Service(), e.Status(), e.Traffic()}]++
		for _, c := range e.Checks() {
			checks[check{c.Kind, c.Status}]++
			if c.Flapping(now) {
				flapping[c.Kind]++
			}
		}
	}
	for c, n := range checks {
		metrics <- prometheus.MustNewConstMetric(i.checks, prometheus.GaugeValue, float64(n), string(c.kind), string(c.status))
	}
	for kind, n := range flapping {
		metrics <- prometheus.MustNewConstMetric(i.flapping, prometheus.GaugeValue, float64(n), string(kind))
	}
	for s, n := range counts {
		metrics <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, float64(n), s.service.Namespace, s.service.Service, string(s.status), string(s.traffic))
	}
}
