package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// Events and blocks of heartbeats are in tables without other keys, which the engine need not write again when it merges tables.
func TestEventsAndHeartbeatsHaveTablesOfTheirOwn(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	for round := range 3 {
		for i := range 50 {
			appendOne(t, s, stream(100*round+i))
			appendOne(t, s, heartbeats(100*round+i))
		}
		tables, err := s.Tables()
		if err != nil {
			t.Fatal(err)
		}
		own := map[byte]int{}
		for _, table := range tables {
			first, last := table[0][0], table[1][0]
			for _, of := range []byte("eh") {
				if first == of && last == of {
					own[of]++
				} else if first <= of && last >= of {
					t.Errorf("round %d: a table is from %q to %q", round, table[0], table[1])
				}
			}
		}
		if own['e'] == 0 || own['h'] == 0 {
			t.Errorf("round %d: the tables are %q", round, tables)
		}
	}
}
