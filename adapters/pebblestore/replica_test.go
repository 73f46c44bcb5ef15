package pebblestore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// blocks makes a log: appends of all kinds, retries, conflicts, and removals of old heartbeats.
func blocks(rng *rand.Rand, n int) (made []pebblestore.Block) {
	ids := make([]uuid.UUID, 40)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:], rng.Uint64())
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	earliest := at
	for i := range n {
		at += rng.Int64N(int64(400 * time.Millisecond))
		if rng.IntN(3) == 0 {
			at -= at % int64(time.Second) // blocks may have the same time
			at = max(at, earliest)
		}
		earliest = at
		b := pebblestore.Block{At: at, Seed: rng.Uint64(), Mark: fmt.Append(nil, i)}
		for range rng.IntN(12) {
			r := eventstore.AppendRequest{Stream: stream(rng.IntN(4))}
			if rng.IntN(2) == 0 {
				r.Stream = heartbeats(rng.IntN(4))
			}
			switch rng.IntN(4) {
			case 0:
				r.Expected = eventstore.NoStream()
			case 1:
				r.Expected = eventstore.Exactly(eventstore.Revision(rng.IntN(1 + i)))
			case 2:
				r.Other = eventstore.Exactly(eventstore.Revision(rng.IntN(1 + i)))
			}
			for range 1 + rng.IntN(3) {
				e := beat
				if rng.IntN(3) == 0 {
					e.ID = ids[rng.IntN(len(ids))]
				}
				r.Events = append(r.Events, e)
			}
			b.Requests = append(b.Requests, r)
			if rng.IntN(4) == 0 {
				b.Requests = append(b.Requests, r) // a retry within the block
			}
		}
		made = append(made, b)
	}
	return made
}

func read(t *testing.T, s *pebblestore.Store) (all []eventstore.RecordedEvent) {
	t.Helper()
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// A replica may crash, be opened again, forget heads at any moment, and carry out any number of blocks at once: it ends with the
// same events, and answers with the same results.
func TestReplicasOfOneLogAreEqual(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 5))
		log := blocks(rng, 120)
		id := uuid.New()
		steady := open(t, "data", pebblestore.Options{FS: vfs.NewMem(), Replica: true, ID: id})
		fs := vfs.NewCrashableMem()
		options := func() pebblestore.Options {
			// The store asks for the time in goroutines of its own, too, so the clock must not take its numbers from rng.
			return pebblestore.Options{FS: fs, Replica: true, ID: id, Now: func() time.Time { return time.Unix(rand.Int64N(1<<32), 0) }}
		}
		restless, err := pebblestore.Open("data", options())
		if err != nil {
			t.Fatal(err)
		}
		if err := restless.Sync(); err != nil {
			t.Fatal(err)
		}
		results := make([][]eventstore.AppendResult, len(log))
		for i := range log {
			b := &log[i]
			if i%30 == 29 {
				if b.TrimBefore, err = steady.Trimmable(time.Since(time.Unix(0, b.At)) + 2*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			if results[i], err = steady.Apply(nil, b); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < len(log); {
			var together []*pebblestore.Block
			var want []eventstore.AppendResult
			for n := 1 + rng.IntN(5); n > 0 && i < len(log); n-- {
				together, want = append(together, &log[i]), append(want, results[i]...)
				i++
			}
			got, err := restless.Apply(nil, together...)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, the blocks before %d gave\n%+v, the other replica\n%+v", seed, i, got, want)
			}
			switch rng.IntN(20) {
			case 0:
				if err := restless.ForgetIdle(); err != nil {
					t.Fatal(err)
				}
			case 1:
				if err := restless.Sync(); err != nil {
					t.Fatal(err)
				}
			case 2:
				crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				if err := restless.Close(); err != nil {
					t.Fatal(err)
				}
				fs = crashed
				if restless, err = pebblestore.Open("data", options()); err != nil {
					t.Fatal(err)
				}
				i = 0
				if mark := restless.Mark(); mark != nil {
					if _, err := fmt.Sscan(string(mark), &i); err != nil {
						t.Fatal(err)
					}
					i++
				}
			}
		}
		if want, got := read(t, steady), read(t, restless); !reflect.DeepEqual(want, got) || len(want) == 0 {
			t.Errorf("seed %d: the replicas have %d and %d events, or other ones", seed, len(want), len(got))
		}
		if err := restless.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReplicaTakesNoAppendAndIsNotOpenedAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := pebblestore.Open(dir, pebblestore.Options{Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	request := eventstore.AppendRequest{Stream: stream(1), Events: []eventstore.EventData{beat}}
	if _, err := s.Append(ctx, nil, request); !errors.Is(err, eventstore.ErrRefused) {
		t.Errorf("an append to a replica gave %v", err)
	}
	if _, err := s.Apply(nil, &pebblestore.Block{At: 1, Requests: []eventstore.AppendRequest{request}, Mark: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pebblestore.Open(dir, pebblestore.Options{}); !errors.Is(err, pebblestore.ErrReplica) {
		t.Errorf("a replica opened as a store of its own gave %v", err)
	}
	alone := open(t, dir, pebblestore.Options{Alone: true})
	appendOne(t, alone, stream(1))
	if all := read(t, alone); len(all) != 2 {
		t.Errorf("the store that left its cluster has %d events", len(all))
	}
}

// A node that is behind carries out blocks at once of which the later ones were made when the earlier ones were carried out.
func TestABlockMayNameAStreamByTheNumberThatTheBlockBeforeGaveIt(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem(), Replica: true})
	first := pebblestore.Block{At: 1, Requests: []eventstore.AppendRequest{{Stream: heartbeats(1), Events: []eventstore.EventData{beat}}}, Mark: []byte("1")}
	second := pebblestore.Block{At: 2, Requests: []eventstore.AppendRequest{{StreamNumber: 1, Events: []eventstore.EventData{beat}}}, Mark: []byte("2")}
	results, err := s.Apply(nil, &first, &second)
	if err != nil {
		t.Fatal(err)
	}
	want := []eventstore.AppendResult{{Position: 1, Revision: 0, StreamNumber: 1}, {Position: 2, Revision: 1, StreamNumber: 1}}
	if !reflect.DeepEqual(results, want) {
		t.Errorf("the blocks gave %+v, want %+v", results, want)
	}
	if all := read(t, s); len(all) != 2 || all[1].Stream != heartbeats(1) || string(s.Mark()) != "2" {
		t.Errorf("the store has %+v and the mark %q", all, s.Mark())
	}
}

// A write that fails in the background makes the engine give up in the middle of a later one. The block of that one is refused, and
// the store can still be read and closed.
func TestAReplicaWhoseDiskIsFullRefusesBlocksAndIsClosed(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") {
			return syscall.ENOSPC
		}
		return nil
	}))
	s, err := pebblestore.Open("data", pebblestore.Options{FS: fs, Replica: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var applied int
	for i, b := range blocks(rand.New(rand.NewPCG(1, 2)), 20_000) {
		if i == 10 {
			full.Store(true)
		}
		if _, err = s.Apply(nil, &b); err != nil {
			break
		}
		applied++
	}
	if !errors.Is(err, eventstore.ErrReadOnly) || !errors.Is(s.Err(), eventstore.ErrReadOnly) {
		t.Errorf("after %d blocks: %v, and the store says %v", applied, err, s.Err())
	}
	if len(read(t, s)) == 0 {
		t.Error("nothing can be read")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
