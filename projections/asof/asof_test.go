package asof_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// contents is everything in a catalog, in a form that can be compared.
func contents(c *catalog.Catalog) string {
	s := ""
	for _, key := range c.Services("") {
		v := c.View(key)
		s += fmt.Sprintln(key, v.Position)
		for _, e := range v.Entries {
			s += fmt.Sprintf("%+v %s %s %d\n", e.Instance(), e.RegisteredAt(), e.ChangedAt(), e.Position)
		}
	}
	return s
}

// The catalog as of any position is the fold of the events up to there, and as of now it is the live
// one, whichever snapshots there are, thinned out or damaged.
func TestThePastIsAFoldOfTheEventsUpToThere(t *testing.T) {
	ctx := context.Background()
	logger := slog.New(slog.DiscardHandler)
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 5))
		store := eventstoretest.NewMemory()
		fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN, IDs: 8}
		snapshots := projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.New(), Logger: logger}
		for range 4 { // each start replays what came and leaves snapshots
			if err := fleet.Do(ctx, 80); err != nil {
				t.Fatal(err)
			}
			r, err := live.Open(ctx, live.Options{Store: store, Snapshots: snapshots, Now: time.Now, Logger: logger, SnapshotEvery: 7})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		marks, err := snapshots.Marks()
		if err != nil || len(marks) < 2 {
			t.Fatalf("%d snapshots, %v", len(marks), err)
		}
		if seed%2 == 1 { // one is damaged
			damage(t, snapshots.Dir, rng.IntN(len(marks)))
		}
		past := asof.New(store, snapshots)
		fold := catalog.New()
		was := map[eventstore.Position]string{}
		for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := fold.Apply(&e); err != nil {
				t.Fatal(err)
			}
			then, err := past.At(ctx, e.Position)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := contents(then), contents(fold); got != want {
				t.Fatalf("seed %d, at %d:\n%s\nwant\n%s", seed, e.Position, got, want)
			}
			was[e.Position] = contents(fold)
		}
		// In any order, where catalogs are made from others, and none changes another.
		past = asof.New(store, snapshots)
		positions := slices.Sorted(maps.Keys(was))
		for range 300 {
			at := positions[rng.IntN(len(positions))]
			then, err := past.At(ctx, at)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := contents(then), was[at]; got != want {
				t.Fatalf("seed %d, at %d:\n%s\nwant\n%s", seed, at, got, want)
			}
		}
	}
}

// damage flips a bit in the folder's nth file.
func damage(t *testing.T, dir string, n int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, files[n].Name())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
