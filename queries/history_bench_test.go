package queries_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// BenchmarkTenNewestEntries asks for the ten newest entries of an instance, with the sums of its heartbeats, as JSON.
func BenchmarkTenNewestEntries(b *testing.B) {
	r := start(b)
	settle := r.withHistory()
	now := epoch
	r.store.Now = func() time.Time { return now }
	r.Now = func() time.Time { return now }
	const instances, rounds = 200, 60
	for round := range rounds {
		for i := range instances {
			now = now.Add(time.Second)
			k := key(fmt.Sprint("web-", i%20), fmt.Sprint("i", i))
			switch stream := eventstore.LifecycleStream(k); {
			case round == 0:
				r.append(stream, domain.InstanceRegistered{Epoch: 1, Details: versioned("eu", "1")})
			case round%6 == 0:
				r.append(stream, domain.InstanceUpdated{Epoch: 1, Details: versioned("eu", fmt.Sprint(round)), Changed: []string{"version"}})
			case round%2 == 0:
				r.append(stream, domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Warning, Source: domain.FromClient, Output: "latency over 300 ms"})
			default:
				r.append(eventstore.HeartbeatStream(k), domain.HeartbeatReceived{Epoch: 1})
			}
		}
	}
	settle()
	bytes := 0
	for n := 0; b.Loop(); n++ {
		i := n * 7 % instances
		page, err := r.HistoryPage(b.Context(), queries.HistoryQuery{
			Selection: queries.Selection{Namespace: "default", Service: fmt.Sprint("web-", i%20), Instance: fmt.Sprint("i", i)}, Limit: "10",
		})
		if err != nil || len(page.Entries) != 10 {
			b.Fatal(page, err)
		}
		body, err := json.Marshal(page)
		if err != nil {
			b.Fatal(err)
		}
		bytes = len(body)
	}
	b.ReportMetric(float64(bytes), "bytes")
}
