package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts and times what an HTTP face does. It implements web.Observer.
type HTTP struct {
	duration    *prometheus.HistogramVec
	subscribers *prometheus.GaugeVec
}

// HTTP adds the metrics of the HTTP face.
func (m *Metrics) HTTP() *HTTP {
	h := &HTTP{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_duration_seconds", Help: "Time from a request's routing to the end of its reply, without streams. A long poll counts with its wait.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route", "status"}),
		subscribers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rollcall_http_subscribers", Help: "Streams that are open, by route.",
		}, []string{"route"}),
	}
	m.registry.MustRegister(h.duration, h.subscribers)
	return h
}

// Replied notes a reply.
func (h *HTTP) Replied(method, route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	h.duration.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Series is Replied for one method, route and status.
func (h *HTTP) Series(method, route string, status int) func(took time.Duration) {
	series := h.duration.WithLabelValues(method, route, strconv.Itoa(status))
	return func(took time.Duration) { series.Observe(took.Seconds()) }
}

// Subscribed notes that a stream began (1) or ended (-1).
func (h *HTTP) Subscribed(route string, change int) {
	h.subscribers.WithLabelValues(route).Add(float64(change))
}
