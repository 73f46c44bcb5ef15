package pebblestore

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Flush makes the engine write tables now.
func (s *Store) Flush() { _ = s.db.Flush() } // tests look at what comes of it

// ForgetIdle lets as many looks pass as it takes until idle heads are forgotten.
func (s *Store) ForgetIdle() error {
	return s.look((idleCycles + 2) * len(s.heads.shards))
}

// Heads is how many heads are in memory.
func (s *Store) Heads() (heads int) {
	for i := range s.heads.shards {
		shard := &s.heads.shards[i]
		shard.Lock()
		heads += shard.table.Len()
		shard.Unlock()
	}
	return heads
}

// AppendAround is Append of an appender that is held up between finding the heads and handing its requests over.
func (s *Store) AppendAround(meanwhile func(), requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	p := &pending{requests: requests, results: make([]eventstore.AppendResult, len(requests)), done: make(chan struct{}, 1)}
	if err := s.prepare(p); err != nil {
		return nil, err
	}
	meanwhile()
	if err := s.submit(context.Background(), p); err != nil {
		return nil, err
	}
	<-p.done
	return p.results, p.err
}

// FillKnown fills the filters of the streams that have events.
func (s *Store) FillKnown() error { return s.fill() }

// Lacks says that the store knows without a read that the stream has no events.
func (s *Store) Lacks(stream eventstore.StreamName) bool {
	return s.known.lacks(xxhash.Sum64String(string(stream)))
}

// WaitKnown waits until the store has filled the filters by itself.
func (s *Store) WaitKnown() {
	for !s.known.complete.Load() {
		runtime.Gosched()
	}
}

// Flushes is how many flushes the engine has carried out.
func (s *Store) Flushes() int64 { return s.db.Metrics().Flush.Count }

// Waiting is how many commits wait for a subscription. REQUIRES: Next is not being called.
func Waiting(s eventstore.Subscription) int { return len(s.(*subscription).commits) }

// NamesKept is how many bytes a reader keeps of so many pages of names.
func NamesKept(t testing.TB, pages, bytesEach int) (kept int) {
	n, text := names{}, strings.Repeat("n", bytesEach)
	for page := range pages {
		n.keep(uint32(page), &namePage{text: text})
	}
	for _, p := range n.pages {
		kept += len(p.text)
	}
	if kept+len(n.pages)*pageOverhead != n.bytes {
		t.Fatalf("a reader counts %d bytes, and keeps %d in %d pages", n.bytes, kept, len(n.pages))
	}
	return kept
}

// InParts has the engine lack up to so many lifecycle events in the index of the streams.
func InParts(opts Options, events int) Options {
	opts.part = events
	return opts
}

// Unindexed is how many lifecycle events the engine lacks in the index of the streams.
func (s *Store) Unindexed() (events int) {
	s.unindexed.mu.RLock()
	defer s.unindexed.mu.RUnlock()
	for _, p := range s.unindexed.parts {
		events += len(p.entries)
	}
	return events
}

// FormatOnDisk is the version of the store's form that another program would find.
func (s *Store) FormatOnDisk() byte {
	b, err := s.get(keyFormat)
	if err != nil || len(b) != 1 {
		panic(err)
	}
	return b[0]
}

// Pausing gives what waits before a table is written again.
func Pausing(opts Options, pause func()) Options {
	opts.pause = pause
	return opts
}
