package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// begun are the events that tell of timelines.
func begun(t *testing.T, s *pebblestore.Store) (began []domain.TimelineBegan, at []eventstore.Position) {
	t.Helper()
	for e, err := range s.ReadStream(ctx, eventstore.RegistryStream, eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := event.(domain.TimelineBegan); ok {
			began, at = append(began, b), append(at, e.Position)
		}
	}
	return began, at
}

func TestARestoredStoreGoesOnAsATimelineOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "data", "events"), pebblestore.Options{})
	if timelines := s.Timelines(); timelines.Name != "" || len(timelines.Forks) != 0 {
		t.Fatalf("a new store is on %+v", timelines)
	}
	for i := range 5 {
		appendOne(t, s, stream(i))
	}
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	backup := func(s *pebblestore.Store, into string) {
		t.Helper()
		if err := s.Checkpoint(filepath.Join(dir, into)); err != nil {
			t.Fatal(err)
		}
	}
	backup(s, "backup")
	for i := range 3 { // the future that will be lost
		appendOne(t, s, stream(i))
	}
	restore := func(from, into string) (domain.TimelineBegan, *pebblestore.Store) {
		t.Helper()
		if err := os.CopyFS(filepath.Join(dir, into), os.DirFS(filepath.Join(dir, from))); err != nil {
			t.Fatal(err)
		}
		restored := open(t, filepath.Join(dir, into), pebblestore.Options{})
		began, err := restored.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.Restored, Backup: &made})
		if err != nil {
			t.Fatal(err)
		}
		return began, restored
	}
	first, one := restore("backup", "one")
	second, two := restore("backup", "two")
	if first.Timeline == second.Timeline || len(first.Timeline) != 10 {
		t.Errorf("two restores are on %q and %q", first.Timeline, second.Timeline)
	}
	began, at := begun(t, one)
	if len(began) != 1 || at[0] != 6 || began[0].After != 5 || began[0].Parent != "" || began[0].Timeline != first.Timeline ||
		began[0].Reason != domain.Restored || began[0].Backup == nil || !began[0].Backup.Equal(made) {
		t.Errorf("the log says %+v at %v", began, at)
	}
	for position, want := range map[eventstore.Position]eventstore.Relation{5: eventstore.Ancestor, 6: eventstore.Lost, 8: eventstore.Lost} {
		if _, relation := one.Timelines().Resolve("", position); relation != want {
			t.Errorf("position %d of the first timeline is %d to it, want %d", position, relation, want)
		}
	}
	if _, relation := two.Timelines().Resolve(first.Timeline, 7); relation != eventstore.Foreign {
		t.Errorf("the other restore's position 7 is %d to it", relation)
	}
	appendOne(t, one, stream(1))
	backup(one, "again")
	third, three := restore("again", "three")
	if began, at := begun(t, three); len(began) != 2 || at[1] != 8 || began[1].Parent != first.Timeline || began[1].After != 7 {
		t.Errorf("restored twice, the log says %+v at %v", began, at)
	}
	if got := three.Timelines(); got.Name != third.Timeline || len(got.Forks) != 2 {
		t.Errorf("restored twice, it is on %+v", got)
	}
}

// Wherever a crash breaks off the beginning of a timeline, the log tells of the timeline before anything else can
// be appended to it.
func TestATimelineIsToldBeforeAnythingOfItIs(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var mu sync.Mutex
	var crashes []*vfs.MemFS
	watching := false
	watched := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watching && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			crashes = append(crashes, fs.CrashClone(vfs.CrashCloneCfg{}), fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))}))
		}
		return nil
	}))
	s := open(t, "data", pebblestore.Options{FS: watched})
	appendOne(t, s, stream(0))
	mu.Lock()
	watching = true
	mu.Unlock()
	if _, err := s.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.Restored}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	watching = false
	crashes = append(crashes, fs.CrashClone(vfs.CrashCloneCfg{}))
	mu.Unlock()
	without, with := 0, 0
	for i, crashed := range crashes {
		s := open(t, "data", pebblestore.Options{FS: crashed})
		appendOne(t, s, stream(1))
		began, at := begun(t, s)
		switch name := s.Timelines().Name; {
		case name == "" && len(began) == 0:
			without++
		case len(began) == 1 && began[0].Timeline == name && at[0] == 2:
			with++
		default:
			t.Errorf("crash %d: the store is on %+v, the log says %+v at %v", i, s.Timelines(), began, at)
		}
	}
	if without == 0 || with < 2 {
		t.Errorf("of %d crashes %d left no timeline, %d left one", len(crashes), without, with)
	}
}

func TestATimelineBeginsAtTheTimeOfItsEvent(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	s := open(t, t.TempDir(), pebblestore.Options{Now: func() time.Time { return now }})
	began, err := s.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.TailLost, Lost: 9})
	if err != nil || began.After != 0 || s.Timelines().Forks[0] != (eventstore.Fork{}) {
		t.Errorf("%+v, %v, %+v", began, err, s.Timelines())
	}
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil || !e.RecordedAt.Equal(now) || string(e.Metadata) != fmt.Sprintf(`{"actor":"rollcall","via":"lost-tail","schema":%d}`, domain.SchemaVersion) {
			t.Errorf("%+v, %v", e, err)
		}
	}
}
