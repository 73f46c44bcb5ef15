package pebblestore

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tables appends to the store and has the engine write its memtable, so often that there are enough tables to merge.
func tables(t *testing.T, s *Store) {
	t.Helper()
	for range 8 {
		register(t, s, 10)
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func merges(s *Store) int64 {
	return s.db.Metrics().Compact.Count + s.db.Metrics().Compact.NumInProgress
}

func mergesSoon(t *testing.T, s *Store) {
	t.Helper()
	for began := time.Now(); merges(s) == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the engine merged no tables")
		}
	}
}

func TestTheEngineMergesNoTablesBeforeTheStartIsOver(t *testing.T) {
	disk := vfs.NewMem()
	s, err := Open("data", Options{FS: disk, MinFree: 1, MergeLater: true})
	if err != nil {
		t.Fatal(err)
	}
	tables(t, s)
	if n := merges(s); n > 0 {
		t.Fatal(n, "merges before the start was over")
	}
	if err := s.Close(); err != nil { // although tables wait to be merged
		t.Fatal(err)
	}
	if s, err = Open("data", Options{FS: disk, MinFree: 1, MergeLater: true}); err != nil {
		t.Fatal(err)
	}
	if n := merges(s); n > 0 {
		t.Fatal(n, "merges while the store was opened")
	}
	s.Merge()
	mergesSoon(t, s)
	if err := s.Close(); err != nil { // although tables are being merged
		t.Fatal(err)
	}
}

// Each start that is never over leaves a table. When the engine lets writes wait for a merge, there is one.
func TestWritesThatWaitForAMergeGetOne(t *testing.T) {
	disk := vfs.NewMem()
	for range 40 {
		s, err := Open("data", Options{FS: disk, MinFree: 1, MergeLater: true})
		if err != nil {
			t.Fatal(err)
		}
		register(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreThatIsNotToldToWaitMergesTables(t *testing.T) {
	s := inMemory(t)
	tables(t, s)
	mergesSoon(t, s)
}
