package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// fileLog is the machine's floor: a bare file, group commit, one fdatasync for all that wait.
type fileLog struct {
	f     *os.File
	queue chan fileWrite
	ended chan error
}

type fileWrite struct {
	data []byte
	done chan struct{}
}

func newFileLog(b *testing.B) *fileLog {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	l := &fileLog{f: f, queue: make(chan fileWrite, 4096), ended: make(chan error, 1)}
	go func() { l.ended <- l.run() }()
	b.Cleanup(func() {
		close(l.queue)
		if err := <-l.ended; err != nil {
			b.Error(err)
		}
		_ = f.Close()
	})
	return l
}

func (l *fileLog) run() error {
	var buffer []byte
	var waiting []chan struct{}
	for w := range l.queue {
		buffer, waiting = append(buffer[:0], w.data...), append(waiting[:0], w.done)
		for len(l.queue) > 0 && len(buffer) < 8<<20 {
			w := <-l.queue
			buffer, waiting = append(buffer, w.data...), append(waiting, w.done)
		}
		if _, err := l.f.Write(buffer); err != nil {
			return err
		}
		if err := l.f.Sync(); err != nil {
			return err
		}
		for _, done := range waiting {
			done <- struct{}{}
		}
	}
	return nil
}

// callers runs write from so many goroutines, b.N times altogether.
func callers(b *testing.B, n, eventsEach int, write func(caller int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for caller := range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				write(caller)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*eventsEach)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAppend compares appends with the floor, on the same disk in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, shape := range []struct{ callers, events int }{{1, 1}, {64, 1}, {256, 1}, {1024, 1}, {16, 100}, {16, 1000}} {
		name := fmt.Sprintf("callers=%d/events=%d", shape.callers, shape.events)
		data := make([]byte, 256)
		for i := range data {
			data[i] = 'x'
		}
		b.Run("floor/"+name, func(b *testing.B) {
			l := newFileLog(b)
			record := make([]byte, 256*shape.events)
			done := make([]chan struct{}, shape.callers)
			for i := range done {
				done[i] = make(chan struct{}, 1)
			}
			callers(b, shape.callers, shape.events, func(c int) {
				l.queue <- fileWrite{record, done[c]}
				<-done[c]
			})
		})
		for kind, name2 := range map[string]func(int) eventstore.StreamName{"lifecycle": stream, "heartbeat": heartbeats} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				s := open(b, b.TempDir(), pebblestore.Options{})
				events := make([]eventstore.EventData, shape.events)
				for i := range events {
					events[i] = beat
					if kind == "lifecycle" {
						events[i] = eventstore.EventData{Type: "InstanceRegistered", Data: data[:200], Metadata: beat.Metadata}
					}
				}
				callers(b, shape.callers, shape.events, func(c int) {
					if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: name2(c), Events: events}); err != nil {
						b.Error(err)
					}
				})
			})
		}
	}
}

func seed(b *testing.B, s *pebblestore.Store, streams, each int) {
	for i := 0; i < streams; i += 1000 {
		requests := make([]eventstore.AppendRequest, 0, 1000)
		for j := i; j < min(i+1000, streams); j++ {
			events := make([]eventstore.EventData, each)
			for k := range events {
				events[k] = beat
			}
			requests = append(requests, eventstore.AppendRequest{Stream: stream(j), Events: events}, eventstore.AppendRequest{Stream: heartbeats(j), Events: events})
		}
		if _, err := s.Append(ctx, nil, requests...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAll(b *testing.B) {
	s := open(b, b.TempDir(), pebblestore.Options{})
	seed(b, s, 20_000, 5)
	for name, filter := range map[string]eventstore.Filter{
		"lifecycle":  {StreamPrefixes: []string{eventstore.LifecyclePrefix}},
		"heartbeats": {StreamPrefixes: []string{eventstore.HeartbeatPrefix}},
		"both":       {},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for n < b.N {
				for _, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{Filter: filter, Limit: b.N - n}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkCatchUp is a subscription that reads heartbeats of a million streams from disk, in any order, after a start.
func BenchmarkCatchUp(b *testing.B) {
	const streams, batch = 1_000_000, 1000
	dir := b.TempDir()
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	append1000 := func(of func(i int) int) eventstore.Position {
		requests := make([]eventstore.AppendRequest, batch)
		for i := range requests {
			requests[i] = eventstore.AppendRequest{Stream: heartbeats(of(i)), Events: []eventstore.EventData{beat}}
		}
		results, err := s.Append(ctx, nil, requests...)
		if err != nil {
			b.Fatal(err)
		}
		return results[batch-1].Position
	}
	from := eventstore.Position(0)
	for i := 0; i < streams; i += batch {
		from = append1000(func(j int) int { return i + j })
	}
	for n := 0; n < b.N; n += batch {
		append1000(func(int) int { return random.IntN(streams) })
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = open(b, dir, pebblestore.Options{})
	began := processorTime(b)
	b.ResetTimer()
	sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{After: from})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	for n := 0; n < b.N; {
		events, _, err := sub.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		n += len(events)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkOpen opens a store of a million streams and appends to one of them.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	seed(b, s, 500_000, 1)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		s, err := pebblestore.Open(dir, pebblestore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		appendOne(b, s, stream(77))
		b.ReportMetric(time.Since(start).Seconds(), "s/open")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetention appends 10,000 heartbeats a second of the events' clock, which runs as fast as the
// machine allows, and removes what is older than two minutes every ten seconds, over ten minutes. What
// the store takes on disk must level off.
func BenchmarkRetention(b *testing.B) {
	for b.Loop() {
		clock := wallAt(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
		s := open(b, b.TempDir(), pebblestore.Options{Now: clock.now})
		var use []uint64
		for second := range 600 {
			clock.add(time.Second)
			for batch := range 10 {
				requests := make([]eventstore.AppendRequest, 1000)
				for i := range requests {
					requests[i] = eventstore.AppendRequest{Stream: heartbeats(batch*1000 + i), Events: []eventstore.EventData{beat}}
				}
				if _, err := s.Append(ctx, nil, requests...); err != nil {
					b.Fatal(err)
				}
			}
			if second%10 == 9 {
				if _, err := s.TrimHeartbeats(clock.now().Add(-2 * time.Minute)); err != nil {
					b.Fatal(err)
				}
			}
			if second%60 == 59 {
				use = append(use, s.DiskUsage()>>20)
			}
		}
		b.Logf("MiB on disk after each minute: %v", use)
		b.ReportMetric(float64(use[len(use)-1]), "MiB-after-10min")
		b.ReportMetric(float64(use[4]), "MiB-after-5min")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewStreams appends batches of 500 first events, as batches of registrations do. It reports the processor time for an event.
func BenchmarkNewStreams(b *testing.B) {
	const each = 500
	s := open(b, b.TempDir(), pebblestore.Options{})
	data := fmt.Appendf(nil, `{"epoch":1,"address":"10.0.0.5","metadata":{"text":"%200d"},"weight":100,"status":"passing","ttl":"30s"}`, 1)
	metadata := []byte(`{"actor":"anonymous","source":"127.0.0.1","via":"http","request_id":"0197c1a6-0000-7000-8000-000000000000","schema":2}`)
	var batches atomic.Int64
	began := processorTime(b)
	callers(b, 16, each, func(int) {
		batch := batches.Add(1)
		requests := make([]eventstore.AppendRequest, each)
		events := make([]eventstore.EventData, each)
		for i := range requests {
			n := batch*each + int64(i)
			events[i] = eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: data, Metadata: metadata}
			requests[i] = eventstore.AppendRequest{
				Stream: eventstore.StreamName(fmt.Sprintf("instance-default/batched-%d/i%d", n%each, n)), Expected: eventstore.NoStream(), Events: events[i : i+1],
			}
		}
		if _, err := s.Append(ctx, nil, requests...); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/float64(b.N*each), "cpu-ns/event")
}

// processorTime is what the process has used, user and system.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
