package commands_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// takesAll takes batches of heartbeats at no cost, so that a benchmark shows the command's own.
type takesAll struct{ *eventstoretest.Memory }

func (d *takesAll) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if len(requests) == 1 {
		return d.Memory.Append(ctx, into, requests...)
	}
	for i := range requests {
		into = append(into, eventstore.AppendResult{Position: 1, StreamNumber: uint32(i + 1)})
	}
	return into, nil
}

func BenchmarkHeartbeatsOfABatch(b *testing.B) {
	n := start(b, &takesAll{Memory: eventstoretest.NewMemory()}, true)
	defer n.stop()
	const size, batches = 100, 20
	keys := make([]domain.Key, size*batches)
	for i := range keys {
		keys[i] = key(fmt.Sprint(i))
		n.do(b, domain.RegisterInstance{Key: keys[i], Details: details(24 * time.Hour)})
	}
	beats := n.service.Heartbeats(caller)
	var results []commands.Result
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		some := keys[i%batches*size:][:size]
		if results = beats.SendAll(ctx, some, nil, results[:0]); results[0].Err != nil {
			b.Fatal(results[0].Err)
		}
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/heartbeat")
}
