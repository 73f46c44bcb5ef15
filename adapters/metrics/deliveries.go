package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// deliveryResults are the values of the label "result" of a delivery.
var deliveryResults = []string{"delivered", "rejected", "failed"}

// Deliveries counts what is delivered to webhooks and brokers.
type Deliveries struct {
	attempts *prometheus.CounterVec
	now      func() time.Time
	registry *prometheus.Registry
}

// Deliveries adds the metrics of webhooks and brokers.
func (m *Metrics) Deliveries(now func() time.Time) *Deliveries {
	d := &Deliveries{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_delivery_attempts_total", Help: "Attempts to deliver an event, by kind of target (webhook or broker), target and result (delivered, rejected, failed).",
		}, []string{"kind", "target", "result"}),
		now: now, registry: m.registry,
	}
	m.registry.MustRegister(d.attempts)
	return d
}

// Target is one webhook or broker under measurement. Its methods may be called from any goroutine.
type Target struct {
	deliveries   *Deliveries
	kind, target string
	waiting      atomic.Int64 // when the oldest event that is not delivered was recorded, Unix nanoseconds; 0: none waits
	age          prometheus.Collector
}

// Target begins to measure a webhook, by its id, or a broker, by its URL without credentials.
func (d *Deliveries) Target(kind, target string) *Target {
	t := &Target{deliveries: d, kind: kind, target: target}
	for _, result := range deliveryResults { // all from the start: no gap in a graph
		d.attempts.WithLabelValues(kind, target, result)
	}
	t.age = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_delivery_oldest_undelivered_seconds", Help: "Age of the oldest event that a target has not taken yet; 0: it has taken all.",
		ConstLabels: prometheus.Labels{"kind": kind, "target": target},
	}, func() float64 {
		if at := t.waiting.Load(); at != 0 {
			return max(d.now().Sub(time.Unix(0, at)).Seconds(), 0)
		}
		return 0
	})
	_ = d.registry.Register(t.age) // one that is measured already goes on
	return t
}

// Waiting notes the event that is to be delivered next, by when it was recorded.
func (t *Target) Waiting(recorded time.Time) { t.waiting.Store(recorded.UnixNano()) }

// Attempted notes an attempt. What was delivered or rejected waits no longer.
func (t *Target) Attempted(result string) {
	t.deliveries.attempts.WithLabelValues(t.kind, t.target, result).Inc()
	if result != "failed" {
		t.waiting.Store(0)
	}
}

// End forgets the target.
func (t *Target) End() {
	t.deliveries.registry.Unregister(t.age)
	t.deliveries.attempts.DeletePartialMatch(prometheus.Labels{"kind": t.kind, "target": t.target})
}
