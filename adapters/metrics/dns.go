package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DNS counts and times the answers over DNS. It implements dns.Observer.
type DNS struct {
	duration  *prometheus.HistogramVec
	truncated prometheus.Counter
	limited   prometheus.Counter
	leftOut   prometheus.Counter
}

// DNS adds the metrics of the answers over DNS.
func (m *Metrics) DNS() *DNS {
	d := &DNS{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_dns_answer_seconds", Help: "Time to answer a question over DNS, by the type of the records and the code of the reply.",
			Buckets: []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1},
		}, []string{"type", "rcode"}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_dns_truncated_total", Help: "Replies over DNS that were cut, so that the client asks again over TCP."}),
		limited:   prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_dns_limited_total", Help: "Replies over DNS that were left out or cut because a network had too many."}),
		leftOut:   prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_dns_left_out_total", Help: "Questions over UDP that were left out because too many waited for an answer."}),
	}
	m.registry.MustRegister(d.duration, d.truncated, d.limited, d.leftOut)
	return d
}

// Answered notes a reply.
func (d *DNS) Answered(kind, rcode string, took time.Duration, truncated bool) {
	d.duration.WithLabelValues(kind, rcode).Observe(took.Seconds())
	if truncated {
		d.truncated.Inc()
	}
}

// Limited notes a reply that was left out or cut.
func (d *DNS) Limited() { d.limited.Inc() }

// LeftOut notes a question that was left out.
func (d *DNS) LeftOut() { d.leftOut.Inc() }
