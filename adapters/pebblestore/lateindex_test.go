package pebblestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// waitFor waits until something that goes on beside the test has come to be.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not yet: %s", what)
		}
	}
}

// checkStream reads a stream, and checks that it has all its events from the first one on, in both directions and from any revision.
func checkStream(t *testing.T, s eventstore.Store, name eventstore.StreamName, events int, rng *rand.Rand) {
	t.Helper()
	for range 4 {
		opts := eventstore.ReadOptions{From: eventstore.Revision(rng.IntN(events + 2)), Backwards: rng.IntN(2) == 0, Limit: rng.IntN(4)}
		if rng.IntN(2) == 0 {
			opts.From, opts.Limit = 0, 0
			if opts.Backwards {
				opts.From = eventstore.FromEnd
			}
		}
		var want, got []eventstore.Revision
		for r := range eventstore.Revision(events) {
			if opts.Backwards && r <= opts.From || !opts.Backwards && r >= opts.From {
				want = append(want, r)
			}
		}
		if opts.Backwards {
			slices.Reverse(want)
		}
		if opts.Limit > 0 && len(want) > opts.Limit {
			want = want[:opts.Limit]
		}
		for e, err := range s.ReadStream(ctx, name, opts) {
			if err != nil || e.Stream != name {
				t.Fatalf("%s %+v: %s, %v", name, opts, e.Stream, err)
			}
			got = append(got, e.Revision)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s %+v: revisions %v, want %v", name, opts, got, want)
		}
	}
}

// A stream has the same events whether the engine has their index, lacks it, or is being given it; across ends of every kind.
func TestTheIndexOfTheStreamsMayBeLate(t *testing.T) {
	seeds := uint64(3)
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		seeds = 60
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			fs := vfs.NewCrashableMem()
			opts := pebblestore.InParts(pebblestore.Options{FS: fs}, 1+rng.IntN(30))
			s := open(t, "data", opts)
			var events [40]int
			for range 200 {
				requests := make([]eventstore.AppendRequest, 1+rng.IntN(5))
				for i := range requests {
					n := rng.IntN(len(events))
					requests[i] = eventstore.AppendRequest{
						Stream: stream(n), Events: slices.Repeat([]eventstore.EventData{beat}, 1+rng.IntN(3)), Expected: eventstore.NoStream(),
					}
					if events[n] > 0 {
						requests[i].Expected = eventstore.Exactly(eventstore.Revision(events[n] - 1))
					}
					events[n] += len(requests[i].Events)
				}
				results, err := s.Append(ctx, nil, requests...)
				for _, r := range results {
					err = errors.Join(err, r.Err)
				}
				if err != nil {
					t.Fatal(err)
				}
				n := rng.IntN(len(events))
				checkStream(t, s, stream(n), events[n], rng)
				switch rng.IntN(40) {
				case 0:
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, "data", opts)
				case 1:
					fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
					opts.FS = fs
					s = open(t, "data", opts)
				}
			}
			if err := s.ForgetIdle(); err != nil {
				t.Fatal(err)
			}
			for n := range events {
				checkStream(t, s, stream(n), events[n], rng)
				if p := appendOne(t, s, stream(n)); p == 0 {
					t.Errorf("%s takes no event", stream(n))
				}
				checkStream(t, s, stream(n), events[n]+1, rng)
			}
		})
	}
}

// The engine has all of the index but for less than a part, once the events are durable.
func TestFullPartsOfTheIndexAreWritten(t *testing.T) {
	s := open(t, "data", pebblestore.InParts(pebblestore.Options{FS: vfs.NewMem()}, 10))
	for i := range 57 {
		appendOne(t, s, stream(i))
	}
	waitFor(t, "five parts of the index are written", func() bool { return s.Unindexed() == 7 })
	if err := s.FillKnown(); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if s.Lacks(stream(i)) != (i >= 57) {
			t.Errorf("stream %d is said to have no event: %v", i, i < 57)
		}
	}
}

// A program that does not know of a late index refuses a store while its index is late, and only then.
func TestTheFormatSaysThatTheIndexIsLate(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, "data", pebblestore.Options{FS: fs})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(what string, opts pebblestore.Options, format byte, unindexed, events int) *pebblestore.Store {
		t.Helper()
		s := open(t, "data", opts)
		if s.FormatOnDisk() != format || s.Unindexed() != unindexed {
			t.Errorf("%s: format %d, %d events are not in the index; want %d, %d", what, s.FormatOnDisk(), s.Unindexed(), format, unindexed)
		}
		n := 0
		for _, err := range s.ReadStream(ctx, stream(1), eventstore.ReadOptions{}) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != events {
			t.Errorf("%s: %d events in the stream, want %d", what, n, events)
		}
		return s
	}
	s = check("opened again", pebblestore.Options{FS: fs}, 3, 0, 0)
	for range 3 {
		appendOne(t, s, stream(1))
	}
	crash := func() vfs.FS { return fs.CrashClone(vfs.CrashCloneCfg{}) }
	check("read after a crash", pebblestore.Options{FS: crash(), ReadOnly: true}, 4, 3, 3)
	check("as a replica after a crash", pebblestore.Options{FS: crash(), Replica: true}, 3, 0, 3)
	check("after a crash", pebblestore.Options{FS: crash()}, 4, 3, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after its end", pebblestore.Options{FS: fs, ReadOnly: true}, 3, 0, 3)
}

// While the disk takes no table, the events are found where they are, and appends go on.
func TestAnIndexThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	var attempts atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, "index.tmp") && full.Load() {
			attempts.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}))
	s := open(t, "data", pebblestore.Pausing(pebblestore.InParts(pebblestore.Options{FS: fs}, 5), func() { time.Sleep(time.Millisecond) }))
	for range 30 {
		appendOne(t, s, stream(1))
	}
	waitFor(t, "three attempts", func() bool { return attempts.Load() >= 3 })
	rng := rand.New(rand.NewPCG(1, 1))
	checkStream(t, s, stream(1), 30, rng)
	full.Store(false)
	waitFor(t, "the index is written", func() bool { return s.Unindexed() < 5 })
	checkStream(t, s, stream(1), 30, rng)
}

// Without an event that the index lacks, its stream's revisions would be given again. So the store is not opened to append to it.
func TestADamagedEventThatTheIndexLacksEndsTheStart(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, "data", pebblestore.Options{FS: fs})
	at := appendOne(t, s, stream(1))
	appendOne(t, s, stream(2))
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	db, err := pebble.Open("data", &pebble.Options{FS: crashed, FormatMajorVersion: pebble.FormatNewest, Logger: mute{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set(append([]byte("e/"), 0, 0, 0, 0, 0, 0, 0, byte(at)), []byte("nonsense"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	var damaged *pebblestore.Damaged
	if _, err := pebblestore.Open("data", pebblestore.Options{FS: crashed}); !errors.As(err, &damaged) || damaged.Position != at {
		t.Errorf("gave %v, want the position %d", err, at)
	}
	tool := open(t, "data", pebblestore.Options{FS: crashed, ReadOnly: true})
	checkStream(t, tool, stream(2), 1, rand.New(rand.NewPCG(1, 1)))
}

// Who reads a stream while parts of the index are written has each event that was acknowledged before, once.
func TestAStreamIsWholeWhileItsIndexIsWritten(t *testing.T) {
	s := open(t, "data", pebblestore.InParts(pebblestore.Options{FS: vfs.NewMem()}, 3))
	var acked [4]atomic.Int64
	var writers, readers sync.WaitGroup
	var ended atomic.Bool
	for w := range acked {
		writers.Go(func() {
			for i := range int64(100) {
				appendOne(t, s, stream(w))
				acked[w].Store(i + 1)
			}
		})
		readers.Go(func() {
			for !ended.Load() {
				promised, n := acked[w].Load(), int64(0)
				for e, err := range s.ReadStream(ctx, stream(w), eventstore.ReadOptions{}) {
					if err != nil || e.Revision != eventstore.Revision(n) {
						t.Errorf("%s: revision %d at place %d, %v", stream(w), e.Revision, n, err)
						return
					}
					n++
				}
				if n < promised {
					t.Errorf("%s has %d events, but %d were acknowledged", stream(w), n, promised)
				}
			}
		})
	}
	writers.Wait()
	ended.Store(true)
	readers.Wait()
}
