package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-registry/rollcall/domain"
)

// probedServices is how many services have a latency histogram of their own. The looks at all others are counted together.
const probedServices = 100

// otherServices is the label of services that have no histogram of their own. It is no service's name.
const otherServices = "(others)"

// Probes counts what the prober does. Its methods may be called from any goroutine.
type Probes struct {
	looks   map[string]map[string]prometheus.Counter // by kind and result
	late    prometheus.Counter
	latency *prometheus.HistogramVec
	others  prometheus.Observer

	mu       sync.RWMutex
	services map[domain.ServiceKey]prometheus.Observer
}

// ProbeNumbers are what a prober is doing now.
type ProbeNumbers struct {
	Checks, InFlight, Waiting, Held int
	Holding                         bool
}

// Probes adds the metrics of the prober. kinds and results are all there are.
func (m *Metrics) Probes(kinds, results []string, now func() ProbeNumbers) *Probes {
	p := &Probes{looks: make(map[string]map[string]prometheus.Counter), services: make(map[domain.ServiceKey]prometheus.Observer)}
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_probes_total", Help: "Looks at instances, by the kind of the check and the result (passed, failed, unanswered, refused, void).",
	}, []string{"kind", "result"})
	for _, kind := range kinds { // all from the start: no gap in a graph
		p.looks[kind] = make(map[string]prometheus.Counter)
		for _, result := range results {
			p.looks[kind][result] = total.WithLabelValues(kind, result)
		}
	}
	p.late = prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_probes_late_total", Help: "Looks that began more than a second after they were due."})
	p.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "rollcall_probe_duration_seconds", Help: "Time that looks took that got an answer, by service. The first 100 services have a histogram of their own.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
	}, []string{"namespace", "service"})
	p.others = p.latency.WithLabelValues("", otherServices)
	m.registry.MustRegister(total, p.late, p.latency)
	gauge := func(name, help string, value func(ProbeNumbers) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(now()) }))
	}
	gauge("rollcall_probe_checks", "Checks that this node looks at.", func(n ProbeNumbers) float64 { return float64(n.Checks) })
	gauge("rollcall_probes_in_flight", "Looks that are under way.", func(n ProbeNumbers) float64 { return float64(n.InFlight) })
	gauge("rollcall_probe_reports_waiting", "Changes of checks that were seen and not recorded yet.", func(n ProbeNumbers) float64 { return float64(n.Waiting) })
	gauge("rollcall_probe_held_checks", "Checks that got no answer and whose failure is held back.", func(n ProbeNumbers) float64 { return float64(n.Held) })
	gauge("rollcall_probe_held", "1 while most probes get no answer, so that this node holds failures back.", func(n ProbeNumbers) float64 {
		if n.Holding {
			return 1
		}
		return 0
	})
	return p
}

// Looked counts a look. A look that got no answer has no latency.
func (p *Probes) Looked(service domain.ServiceKey, kind, result string, took time.Duration) {
	p.looks[kind][result].Inc()
	if result == "passed" || result == "failed" {
		p.of(service).Observe(took.Seconds())
	}
}

// Late counts a look that began late.
func (p *Probes) Late() { p.late.Inc() }

// of is the histogram of a service.
func (p *Probes) of(service domain.ServiceKey) prometheus.Observer {
	p.mu.RLock()
	o, known := p.services[service]
	full := len(p.services) >= probedServices
	p.mu.RUnlock()
	switch {
	case known:
		return o
	case full:
		return p.others
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, known := p.services[service]; known {
		return o
	}
	if len(p.services) >= probedServices {
		return p.others
	}
	o = p.latency.WithLabelValues(service.Namespace, service.Service)
	p.services[service] = o
	return o
}
