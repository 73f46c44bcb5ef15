package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/cmd/rollcall/bench"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// BenchmarkRebuildCatalog makes the catalog of a fleet's changes anew, with its snapshots.
func BenchmarkRebuildCatalog(b *testing.B) {
	const changes = 1_000_000
	dir := b.TempDir()
	if err := bench.SeedChanges(b.Context(), dir, changes); err != nil {
		b.Fatal(err)
	}
	store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	defer fewerCollections()()
	for b.Loop() {
		if _, err := rebuildCatalog(b.Context(), settings{data: dir}, store, slog.New(slog.DiscardHandler), func(_, _ eventstore.Position) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*changes/b.Elapsed().Seconds(), "events/s")
}
