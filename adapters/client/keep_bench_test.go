package client_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// BenchmarkHeartbeatsOfTenThousand sends the heartbeats of 10,000 instances to the registry at ROLLCALL_BENCH_URL: as raw
// batches of names, and as Keep sends them.
func BenchmarkHeartbeatsOfTenThousand(b *testing.B) {
	url := os.Getenv("ROLLCALL_BENCH_URL")
	if url == "" {
		b.Skip("needs ROLLCALL_BENCH_URL, the URL of a registry")
	}
	c, err := client.New(url, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	const n = 10_000
	keys := make([]domain.Key, n)
	ctx, end := context.WithCancel(b.Context())
	defer end()
	for i := range keys {
		keys[i] = domain.Key{Namespace: "default", Service: fmt.Sprint("bench-", i%100), ID: fmt.Sprint("i-", i)}
		k, err := c.Keep(ctx, client.Registration{Key: keys[i], Details: domain.Details{Address: "10.0.0.5", TTL: domain.Duration(time.Hour)}})
		if err != nil {
			b.Fatal(err)
		}
		defer k.LetGo()
		if i%500 == 0 || i == n-1 {
			if err := k.WaitRegistered(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			if reply, err := c.Heartbeats(b.Context(), keys); err != nil || len(reply.Value.Succeeded) != n {
				b.Fatal(err, len(reply.Value.Failed))
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "heartbeats/s")
	})
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			if !c.Beat(b.Context()) {
				b.Fatal("a heartbeat was refused")
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "heartbeats/s")
	})
}
