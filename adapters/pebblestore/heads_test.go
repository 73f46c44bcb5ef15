package pebblestore_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const manyStreams = 2000

// beatAll appends a heartbeat to every one of many streams with one commit.
func beatAll(t *testing.T, s eventstore.Store) []eventstore.AppendResult {
	t.Helper()
	requests := make([]eventstore.AppendRequest, manyStreams)
	for i := range requests {
		requests[i] = eventstore.AppendRequest{Stream: heartbeats(i), Events: []eventstore.EventData{beat}}
	}
	results, err := s.Append(ctx, nil, requests...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// checkHeads looks at every stream from its end, and then whether its numbering goes on.
func checkHeads(t *testing.T, s *pebblestore.Store, events int) {
	t.Helper()
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}
	for i := range manyStreams {
		revision := eventstore.Revision(0)
		for e, err := range s.ReadStream(ctx, heartbeats(i), newest) {
			if err != nil {
				t.Fatal(err)
			}
			revision = e.Revision
		}
		if revision != eventstore.Revision(events-1) {
			t.Fatalf("stream %d ends at revision %d, want %d", i, revision, events-1)
		}
	}
	for i, r := range beatAll(t, s) {
		if r.Revision != eventstore.Revision(events) {
			t.Fatalf("stream %d goes on with revision %d, want %d", i, r.Revision, events)
		}
	}
}

func TestHeadsThatWereNotWrittenAreFoundInTheHeartbeats(t *testing.T) {
	t.Run("after a crash", func(t *testing.T) {
		fs := vfs.NewCrashableMem()
		s := open(t, "data", pebblestore.Options{FS: fs})
		for range 3 {
			beatAll(t, s)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 1))})
		s = open(t, "data", pebblestore.Options{FS: crashed})
		checkHeads(t, s, 3)
		again := crashed.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 2))})
		checkHeads(t, open(t, "data", pebblestore.Options{FS: again}), 4)
	})
	t.Run("after Close", func(t *testing.T) {
		fs := vfs.NewCrashableMem()
		s := open(t, "data", pebblestore.Options{FS: fs})
		beatAll(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkHeads(t, open(t, "data", pebblestore.Options{FS: fs}), 1)
	})
	t.Run("after the retention took the heartbeats", func(t *testing.T) {
		clock := wallAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		fs := vfs.NewCrashableMem()
		opts := pebblestore.Options{FS: fs, Now: clock.now}
		s := open(t, "data", opts)
		beatAll(t, s)
		clock.add(time.Hour)
		appendOne(t, s, stream(1))
		if _, err := s.TrimHeartbeats(clock.now()); err != nil {
			t.Fatal(err)
		}
		opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		for i, r := range beatAll(t, open(t, "data", opts)) {
			if r.Revision != 1 {
				t.Fatalf("stream %d goes on with revision %d, want 1", i, r.Revision)
			}
		}
	})
}
