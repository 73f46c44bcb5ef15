package memtables_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/projections/memtables"
)

// What the system says is resident depends on other things, too, so the test looks at what the engine holds.
func TestAReleaseWritesEverythingAndLetsGoOfMemtablesAndBlocks(t *testing.T) {
	const entries, size = 3 << 10, 8 << 10
	cache := pebble.NewCache(96 << 20)
	defer cache.Unref()
	db, err := pebble.Open("data", &pebble.Options{FS: vfs.NewMem(), Cache: cache, MemTableSize: 32 << 20, DisableAutomaticCompactions: true, Logger: pebble.DefaultLogger, DisableWAL: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	value := make([]byte, size)
	for round := range 2 { // in the second round the engine makes memtables of their full size from the beginning
		for i := range entries {
			if err := db.Set(binary.BigEndian.AppendUint32([]byte{byte(round)}, uint32(i)), value, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		err := memtables.Release(db, cache, db.AsyncFlush, func(flushed <-chan struct{}) error { <-flushed; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if m := db.Metrics().MemTable; m.Count != 1 || m.ZombieCount != 1 {
			t.Errorf("round %d: the engine holds %d memtables and keeps %d, want one of each", round, m.Count, m.ZombieCount)
		}
		for i := range entries {
			_, closer, err := db.Get(binary.BigEndian.AppendUint32([]byte{byte(round)}, uint32(i)))
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			_ = closer.Close()
		}
	}
	if was := cache.Metrics().Size; was < 16<<20 {
		t.Fatalf("the cache has %d bytes of blocks, which are not enough for this test", was)
	}
	if err := memtables.Release(db, cache, db.AsyncFlush, func(flushed <-chan struct{}) error { <-flushed; return nil }); err != nil {
		t.Fatal(err)
	}
	if left := cache.Metrics().Size; left > 0 {
		t.Errorf("after a release the cache has %d bytes of blocks", left)
	}
	if _, closer, err := db.Get(make([]byte, 5)); err != nil {
		t.Error(err)
	} else if err := closer.Close(); err != nil || cache.Metrics().Size == 0 {
		t.Errorf("the cache keeps no block that is read afterwards, %v", err)
	}
}

func TestMemoryIsGivenBackWhenLittleIsWrittenAfterMuchWas(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		written []uint64 // between two looks
		due     []int    // the looks that say so, from 0
	}{
		"nothing is written":            {written: []uint64{0, 0, 0, 0}},
		"little is written":             {written: []uint64{100, 0, 0, 0, 100, 0, 0}},
		"a load ends":                   {written: []uint64{mib, mib, 0, 0, 0, 0, 0}, due: []int{3}},
		"a load goes on":                {written: []uint64{mib, 0, mib, 0, mib, 0, mib, 0}},
		"a load ends in little":         {written: []uint64{mib, 1 << 10, 1 << 10, 1 << 10, 1 << 10}, due: []int{2}},
		"two loads":                     {written: []uint64{mib, 0, 0, 0, mib, 0, 0, 0}, due: []int{2, 6}},
		"a small load after a large":    {written: []uint64{mib, 0, 0, 0, mib / 2, 0, 0, 0}, due: []int{2}},
		"small loads that become large": {written: []uint64{mib / 2, 0, 0, 0, mib / 2, 0, 0, 0}, due: []int{6}},
	} {
		var rest memtables.Rest
		total, due := uint64(0), []int(nil)
		for look, n := range c.written {
			if total += n; rest.Due(total) {
				due = append(due, look)
			}
		}
		if !slices.Equal(due, c.due) {
			t.Errorf("%s: memory is given back at %v, want %v", name, due, c.due)
		}
	}
}
