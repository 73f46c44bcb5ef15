package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// panics tells which services panic, whenever it is asked.
type panics struct {
	now         func() []wire.ServicePanic
	ready, many *prometheus.Desc
}

// WatchPanics adds the services of which lookups of ready instances give all instances.
func (m *Metrics) WatchPanics(now func() []wire.ServicePanic) {
	m.registry.MustRegister(&panics{
		now:   now,
		ready: prometheus.NewDesc("rollcall_panic_ready_share", "Share of the instances that are ready, of each service that panics.", []string{"namespace", "service", "policy"}, nil),
		many:  prometheus.NewDesc("rollcall_panic_services", "Services of which so few instances are ready that lookups of ready instances give all.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (p *panics) Describe(descs chan<- *prometheus.Desc) {
	descs <- p.ready
	descs <- p.many
}

// Collect implements prometheus.Collector.
func (p *panics) Collect(metrics chan<- prometheus.Metric) {
	all := p.now()
	metrics <- prometheus.MustNewConstMetric(p.many, prometheus.GaugeValue, float64(len(all)))
	for _, s := range all {
		metrics <- prometheus.MustNewConstMetric(p.ready, prometheus.GaugeValue, float64(s.Ready)/float64(s.Instances), s.Namespace, s.Service, s.Policy)
	}
}
