package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// running is a history that follows a store.
func running(t *testing.T, h *history.History, store eventstore.Store) (stop func()) {
	t.Helper()
	following, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(following, store) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// answers waits until a history is level with the store and answers, and gives its root.
func answers(t *testing.T, h *history.History, store eventstore.Store) (root [32]byte) {
	t.Helper()
	head, err := store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := h.WaitFor(waiting, head)
		if err == nil {
			if root, err = h.Root(h.Leaves()); err == nil {
				if _, err = everything(h); err == nil {
					return root
				}
			}
		}
		if !errors.As(err, new(*history.Unavailable)) || waiting.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// everything is the number of a history's entries.
func everything(h *history.History) (n int, err error) {
	for q := (history.Query{}); ; {
		page, err := h.Find(ctx, q)
		if n += len(page.Entries); err != nil || !page.More {
			return n, err
		}
		q.After = page.Next
	}
}

func fleetOf(t *testing.T, events int) *eventstoretest.Memory {
	t.Helper()
	store := eventstoretest.NewMemory()
	fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(1, 2)).IntN, IDs: 8}
	if err := fleet.Do(ctx, events); err != nil {
		t.Fatal(err)
	}
	return store
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Every file of the folder in turn is cut, changed or missing, or the folder is something else altogether: the
// history opens, and is what it was before.
func TestADamagedHistoryIsPutAsideAndMadeAnew(t *testing.T) {
	store := fleetOf(t, 300)
	whole := filepath.Join(t.TempDir(), "history")
	h := open(t, whole)
	stop := running(t, h, store)
	want := answers(t, h, store)
	stop()
	files, err := os.ReadDir(whole)
	if err != nil {
		t.Fatal(err)
	}
	if apart, _ := filepath.Glob(filepath.Join(whole, "*.blob")); len(apart) == 0 {
		t.Fatal("no values are kept apart")
	}
	damages := map[string]func(path string) error{
		"cut": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, info.Size()/2)
		},
		"changed": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i := len(b) / 3; i < min(len(b), len(b)/3+64); i++ {
				b[i] ^= 0x55
			}
			return os.WriteFile(path, b, 0o600)
		},
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"missing": os.Remove,
	}
	check := func(name string, damage func(dir string) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "history")
			copyFolder(t, whole, dir)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			h := open(t, dir)
			stop := running(t, h, store)
			if got := answers(t, h, store); got != want {
				t.Errorf("the tree's root is %x, want %x", got, want)
			}
			stop()
		})
	}
	for _, f := range files {
		for how, damage := range damages {
			check(fmt.Sprintf("%s %s", f.Name(), how), func(dir string) error { return damage(filepath.Join(dir, f.Name())) })
		}
	}
	check("the folder is missing", os.RemoveAll)
	check("the folder is a file", func(dir string) error {
		return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, []byte("history"), 0o600))
	})
	check("the folder is empty", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o750)) })
}

// faults is a file system of which some calls fail while it is told so.
func faults(fault error, hit func(op errorfs.Op) bool) (fs vfs.FS, broken *atomic.Bool) {
	broken = new(atomic.Bool)
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && hit(op) {
			return fault
		}
		return nil
	})), broken
}

// Whatever call of the disk fails while the history runs, the process goes on, and when the disk does again, the
// history is what it would have been.
func TestAFailedWriteOfTheHistoryEndsNothing(t *testing.T) {
	kinds := map[string]func(op errorfs.Op) bool{
		"log": func(op errorfs.Op) bool {
			return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".log")
		},
		"table": func(op errorfs.Op) bool {
			return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".sst")
		},
		"values": func(op errorfs.Op) bool {
			return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".blob")
		},
		"any": func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite },
	}
	for kind, hit := range kinds {
		for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(fmt.Sprintf("%s %v", kind, fault), func(t *testing.T) {
				t.Parallel()
				store := fleetOf(t, 100)
				fs, broken := faults(fault, hit)
				h, err := history.OpenOn(fs, filepath.Join(t.TempDir(), "history"), storeID, quiet)
				if err != nil {
					t.Fatal(err)
				}
				stop := running(t, h, store)
				defer stop()
				answers(t, h, store)
				broken.Store(true)
				fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(3, 4)).IntN, IDs: 8}
				for range 20 {
					if err := fleet.Do(ctx, 20); err != nil {
						t.Fatal(err)
					}
				}
				head, err := store.Head(ctx)
				if err != nil {
					t.Fatal(err)
				}
				waiting, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				_ = h.WaitFor(waiting, head) // it may have got there: a log is written late
				cancel()
				broken.Store(false)
				got := answers(t, h, store)

				other := open(t, t.TempDir())
				feed(t, other, store, 0, 50)
				want, err := other.Root(other.Leaves())
				if err != nil || got != want {
					t.Errorf("the tree's root is %x, want %x (%v)", got, want, err)
				}
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A history whose store has lost its end, or has other events there, gives no proof of what is not in the log.
func TestAHistoryThatIsAheadOfTheStoreIsMadeAnew(t *testing.T) {
	for name, change := range map[string]func(events []eventstore.RecordedEvent) []eventstore.RecordedEvent{
		"the store lost its end": func(events []eventstore.RecordedEvent) []eventstore.RecordedEvent { return events[:len(events)/2] },
		"the store is empty":     func([]eventstore.RecordedEvent) []eventstore.RecordedEvent { return nil },
		"other events stand at its end": func(events []eventstore.RecordedEvent) []eventstore.RecordedEvent {
			for i := range events[len(events)/2:] {
				events[len(events)/2+i].ID[0] ^= 1
			}
			return events
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := fleetOf(t, 120)
			dir := filepath.Join(t.TempDir(), "history")
			h := open(t, dir)
			stop := running(t, h, store)
			answers(t, h, store)
			stop()

			var events []eventstore.RecordedEvent
			for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, e)
			}
			restored := eventstoretest.NewMemory()
			for _, e := range change(events) {
				if _, err := restored.Append(ctx, nil, eventstore.AppendRequest{Stream: e.Stream, At: e.RecordedAt, Events: []eventstore.EventData{e.EventData}}); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			h, err := history.OpenSegmented(dir, storeID, slog.New(slog.NewTextHandler(&log, nil)), segment)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Check(ctx, restored); err != nil {
				t.Fatal(err)
			}
			stop = running(t, h, restored)
			got := answers(t, h, restored)
			stop()
			other := open(t, t.TempDir())
			defer other.Close()
			feed(t, other, restored, 0, 50)
			if want, err := other.Root(other.Leaves()); err != nil || got != want {
				t.Errorf("the tree's root is %x, want %x (%v)", got, want, err)
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), dir+".bad-1") {
				t.Errorf("the log says\n%s", log.String())
			}
		})
	}
}

// A history that is what the store says is not touched by the comparison.
func TestAHistoryThatIsBehindTheStoreGoesOn(t *testing.T) {
	store := fleetOf(t, 120)
	dir := filepath.Join(t.TempDir(), "history")
	for range 2 {
		h := open(t, dir)
		stop := running(t, h, store)
		answers(t, h, store)
		stop()
		fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(5, 6)).IntN, IDs: 8}
		if err := fleet.Do(ctx, 50); err != nil {
			t.Fatal(err)
		}
	}
	if aside, _ := filepath.Glob(dir + ".bad-*"); len(aside) > 0 {
		t.Errorf("%v were put aside", aside)
	}
}

// leaderless is a store of a cluster that has no leader for a while: it gives its events, but not its head.
type leaderless struct {
	eventstore.Store
	away atomic.Bool
}

func (s *leaderless) Head(ctx context.Context) (eventstore.Position, error) {
	if s.away.Load() {
		return 0, eventstore.ErrUnavailable
	}
	return s.Store.Head(ctx)
}

// A history that begins while its cluster has no leader goes on as soon as there is one, also if nothing happens then.
func TestAHistoryThatBeginsWithoutALeaderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leaderless{Store: fleetOf(t, 120)}
		store.away.Store(true)
		h := open(t, filepath.Join(t.TempDir(), "history"))
		stop := running(t, h, store)
		time.Sleep(10 * time.Second)
		if n := h.Position(); n != 0 {
			t.Errorf("it is at position %d before it was compared with the store", n)
		}
		store.away.Store(false)
		answers(t, h, store)
		stop()
	})
}
