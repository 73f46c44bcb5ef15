package pebblestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A machine that loses power keeps what was synced and any part of what was not. Every append that
// was acknowledged before must be there, and the streams must have no gap.
func TestAnyCrashKeepsWhatWasAcknowledged(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			s := open(t, "data", pebblestore.InParts(pebblestore.Options{FS: fs}, 50))
			var acked [8]atomic.Int64 // per writer: appends acknowledged
			var writers sync.WaitGroup
			stop := make(chan struct{})
			for w := range acked {
				writers.Go(func() {
					for i := int64(1); ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						name := stream(w)
						if w%2 == 1 {
							name = heartbeats(w)
						}
						appendOne(t, s, name)
						acked[w].Store(i)
					}
				})
			}
			rng := rand.New(rand.NewPCG(seed, 1))
			for acked[rng.IntN(len(acked))].Load() < int64(20+rng.IntN(300)) {
			}
			var promised [8]int64
			for w := range acked {
				promised[w] = acked[w].Load()
			}
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			close(stop)
			writers.Wait()

			after := open(t, "data", pebblestore.Options{FS: crashed})
			for w := range promised {
				name := stream(w)
				if w%2 == 1 {
					name = heartbeats(w)
				}
				n := int64(0)
				for e, err := range after.ReadStream(ctx, name, eventstore.ReadOptions{}) {
					if err != nil || e.Revision != eventstore.Revision(n) {
						t.Fatalf("%s: revision %d at place %d (%v)", name, e.Revision, n, err)
					}
					n++
				}
				if n < promised[w] {
					t.Errorf("%s has %d events, but %d were acknowledged", name, n, promised[w])
				}
			}
			appendOne(t, after, stream(0))
		})
	}
}

// After a failed sync nothing is acknowledged any more, and what was acknowledged is readable.
func TestAFailedSyncIsFinal(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasSuffix(op.Path, ".log") &&
			(op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errors.New("the disk is gone")
		}
		return nil
	}))
	s, err := pebblestore.Open("data", pebblestore.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the engine reports the broken disk once more
	acked := appendOne(t, s, stream(1))
	broken.Store(true)
	request := eventstore.AppendRequest{Stream: stream(1), Events: []eventstore.EventData{beat}}
	if _, err := s.Append(ctx, nil, request); !errors.Is(err, eventstore.ErrReadOnly) {
		t.Fatalf("an append that could not be synced gave %v", err)
	}
	broken.Store(false)
	if _, err := s.Append(ctx, nil, request); !errors.Is(err, eventstore.ErrReadOnly) {
		t.Fatalf("an append after a failed sync gave %v", err)
	}
	if head, _ := s.Head(ctx); head != acked {
		t.Errorf("head is %d, but only %d was acknowledged", head, acked)
	}
	n := 0
	for _, err := range s.ReadStream(ctx, stream(1), eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d events are readable, want the 1 acknowledged", n)
	}
}
