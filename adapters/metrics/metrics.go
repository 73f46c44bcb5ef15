// Package metrics has the metrics of Rollcall for Prometheus.
package metrics

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// Metrics holds the process's metrics.
type Metrics struct {
	registry *prometheus.Registry
	counters [len(commandNames)][len(results)]prometheus.Counter
	batch    prometheus.Histogram
	sync     prometheus.Histogram
	append   prometheus.Histogram
	damaged  prometheus.Counter
}

// results are the values of the label "result".
var results = [...]string{"ok", "invalid", "unknown", "expired", "conflict", "failed"}

var commandNames = [...]string{"RegisterInstance", "SendHeartbeat", "ReportHealth", "ChangeTraffic", "DeregisterInstance", "ExpireLease", "AddCheck", "RemoveCheck", "ReportCheck", "ReportProbe", "LapseCheck", "RemoveCritical"}

// New registers the metrics that do not depend on the projections.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_commands_total", Help: "Commands by their type and result.",
	}, []string{"command", "result"})
	for i, command := range commandNames { // all commands from the start: no map lookup for each command, no gap in a graph
		for j, result := range results {
			m.counters[i][j] = total.WithLabelValues(command, result)
		}
	}
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_append_batch_events", Help: "Events written with one commit.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
	})
	m.sync = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_append_sync_seconds", Help: "Time from handing a commit to the disk until it was durable.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
	})
	m.append = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_append_seconds", Help: "Time that the longest waiting append of a commit took, from its call until it was durable.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
	})
	m.damaged = prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_store_damaged_events_total", Help: "Events that were met and could not be read."})
	m.registry.MustRegister(total, m.damaged, m.batch, m.sync, m.append, buildInfo(version), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func buildInfo(version string) prometheus.Gauge {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rollcall_build_info", Help: "Always 1; the label is the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	return info
}

// Watch adds the metrics that are read from the projections at each scrape.
func (m *Metrics) Watch(r *live.State, diskBytes func() uint64) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("rollcall_catalog_instances", "Instances in the catalog.", func() float64 { return float64(r.Catalog().Count("")) })
	gauge("rollcall_nodes", "Nodes of the registry that are registered, because they probe.", func() float64 { return float64(r.Catalog().Count(domain.RegistryNamespace)) })
	m.registry.MustRegister(newInstances(r.Catalog, r.Now))
	gauge("rollcall_catalog_services", "Services in the catalog.", func() float64 { return float64(len(r.Catalog().Services(""))) })
	gauge("rollcall_leases", "Leases that are watched.", func() float64 { return float64(r.Leases().Len() - r.Leases().Count(domain.RegistryNamespace).Leases) })
	gauge("rollcall_removals", "Instances and checks that are critical and wait for their remove_after.", func() float64 { return float64(r.Removals().Len()) })
	gauge("rollcall_leases_due", "Leases past their deadline that have not been taken out.", func() float64 { return float64(r.Leases().Due() - r.Leases().Count(domain.RegistryNamespace).Overdue) })
	gauge("rollcall_projection_position", "Position up to which the projections have applied events.", func() float64 { return float64(r.Position()) })
	gauge("rollcall_projection_lag_events", "Positions that the projections are behind the event store.", func() float64 { return float64(r.Lag()) })
	gauge("rollcall_projection_lag_seconds", "Time since the projections were last known to be level with the event store.", func() float64 { return r.LagTime().Seconds() })
	gauge("rollcall_projection_skipped_events", "Events that could not be applied.", func() float64 { return float64(r.Skipped()) })
	gauge("rollcall_self_preservation", "1 while expiry is held in a namespace.", func() float64 {
		if standings, _ := r.SelfPreservation(); standings.Anywhere() {
			return 1
		}
		return 0
	})
	if diskBytes != nil {
		gauge("rollcall_store_bytes", "Bytes that the event store takes on disk.", func() float64 { return float64(diskBytes()) })
	}
}

// WatchListening adds the time in which the registry could not take heartbeats.
func (m *Metrics) WatchListening(l *leases.Listening, now func() time.Time) {
	m.registry.MustRegister(deafness{l, now})
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_not_listening", Help: "1 while the registry cannot take heartbeats, so that no lease runs.",
	}, func() float64 {
		if l.Deaf() {
			return 1
		}
		return 0
	}))
}

// deafness collects the seconds in which the registry could not take heartbeats, by cause.
type deafness struct {
	listening *leases.Listening
	now       func() time.Time
}

var notListening = prometheus.NewDesc("rollcall_not_listening_seconds_total", "Time in which the registry could not take heartbeats, so that no lease ran, by cause.", []string{"cause"}, nil)

func (d deafness) Describe(to chan<- *prometheus.Desc) { to <- notListening }

func (d deafness) Collect(to chan<- prometheus.Metric) {
	total := d.listening.Total(d.now())
	for _, cause := range domain.Deafnesses { // all of them from the start: no gap in a graph
		to <- prometheus.MustNewConstMetric(notListening, prometheus.CounterValue, total[cause].Seconds(), string(cause))
	}
}

// Damaged counts an event that could not be read.
func (m *Metrics) Damaged() { m.damaged.Inc() }

// WatchHistory adds the metrics that are read from the history.
func (m *Metrics) WatchHistory(h *history.History, behind func() uint64) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_history_entries", Help: "Lifecycle events in the history and its tree."}, func() float64 { return float64(h.Leaves()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_history_lag_events", Help: "Positions that the history is behind the event store."}, func() float64 { return float64(behind()) }),
	)
}

// WatchLane adds the number of requests that the lane answered.
func (m *Metrics) WatchLane(requests func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "rollcall_http_lane_requests_total", Help: "Heartbeats and lookups in the plainest form of HTTP, which are answered straight from the connection.",
	}, func() float64 { return float64(requests()) }))
}

// Limited gives the function that counts the requests refused because of a limit, by the limit's name.
func (m *Metrics) Limited(names []string) func(name string) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_http_limited_requests_total", Help: "Requests that were refused because their caller sent more than it may, by limit.",
	}, []string{"limit"})
	for _, name := range names { // all limits from the start: no gap in a graph
		total.WithLabelValues(name)
	}
	m.registry.MustRegister(total)
	return func(name string) { total.WithLabelValues(name).Inc() }
}

// Committed notes a commit of the event store.
func (m *Metrics) Committed(events int, sync, append time.Duration) {
	m.batch.Observe(float64(events))
	m.sync.Observe(sync.Seconds())
	m.append.Observe(append.Seconds())
}

// Commanded notes the outcome of commands.
func (m *Metrics) Commanded(o commands.Outcome) {
	m.counters[commandIndex(o.Command)][resultIndex(o.Err)].Add(float64(o.Times))
}

// commandIndex is the command's place in commandNames.
func commandIndex(c domain.Command) int {
	switch c.(type) {
	case domain.RegisterInstance:
		return 0
	case domain.SendHeartbeat:
		return 1
	case domain.ReportHealth:
		return 2
	case domain.ChangeTraffic:
		return 3
	case domain.DeregisterInstance:
		return 4
	case domain.AddCheck:
		return 6
	case domain.RemoveCheck:
		return 7
	case domain.ReportCheck:
		return 8
	case domain.ReportProbe:
		return 9
	case domain.LapseCheck:
		return 10
	case domain.RemoveCritical:
		return 11
	}
	return 5
}

// resultIndex is the outcome's place in results. What the state of an instance, another caller or a policy refuses is a conflict: it
// says nothing of how the registry is, as "failed" does.
func resultIndex(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(domain.InvalidField)):
		return 1
	case errors.As(err, new(domain.UnknownInstance)), errors.As(err, new(domain.UnknownCheck)):
		return 2
	case errors.As(err, new(domain.LeaseLapsed)):
		return 3
	case errors.As(err, new(domain.StaleEpoch)), errors.As(err, new(domain.StaleCheck)), errors.As(err, new(domain.RevisionMismatch)),
		errors.As(err, new(domain.OtherOwner)), errors.As(err, new(domain.AlreadyLive)), errors.As(err, new(domain.NothingToMatch)),
		errors.As(err, new(domain.NotHeld)), errors.As(err, new(domain.Guarded)), errors.As(err, new(commands.ChangedSince)),
		errors.As(err, new(*eventstore.WrongExpectedRevision)), errors.Is(err, eventstore.ErrNotTogether), errors.Is(err, commands.ErrContended):
		return 4
	}
	return 5
}

// Handler serves the metrics in Prometheus' formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
