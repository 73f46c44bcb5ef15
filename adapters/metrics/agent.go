package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewAgent registers the metrics of an agent. cache says whether the registry's stream is up, and how old the cache is.
func NewAgent(version string, cache func() (live bool, age time.Duration)) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		buildInfo(version), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_agent_stale", Help: "1 while the registry's stream is not up, and answers come from the cache as it was."}, func() float64 {
			if live, _ := cache(); live {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_agent_cache_age_seconds", Help: "How old the answers are. +Inf: nothing is known."}, func() float64 {
			if _, age := cache(); age < math.MaxInt64 {
				return age.Seconds()
			}
			return math.Inf(1)
		}),
	)
	return m
}
