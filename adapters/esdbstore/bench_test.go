package esdbstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// BenchmarkHeartbeats appends single heartbeats of 10,000 instances from 256 callers, and in batches
// of 1,000, to the test server. Client and server share the machine.
func BenchmarkHeartbeats(b *testing.B) {
	beat := eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"anonymous","schema":1}`)}
	request := func(i int64) eventstore.AppendRequest {
		return eventstore.AppendRequest{
			Stream: eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(i % 10_000)}), Events: []eventstore.EventData{beat},
		}
	}
	b.Run("single", func(b *testing.B) {
		s := open(b, serve(b).ConnectionString(), esdbstore.Options{})
		var n atomic.Int64
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Append(ctx, nil, request(n.Add(1))); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "heartbeats/s")
	})
	b.Run("batch-1000", func(b *testing.B) {
		s := open(b, serve(b).ConnectionString(), esdbstore.Options{})
		n := int64(0)
		for b.Loop() {
			requests := make([]eventstore.AppendRequest, 1000)
			for i := range requests {
				n++
				requests[i] = request(n)
			}
			if _, err := s.Append(ctx, nil, requests...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "heartbeats/s")
	})
}
