package history_test

import (
	"encoding/binary"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/history"
)

func FuzzStoredLists(f *testing.F) {
	f.Add([]byte{3, 3, 1, 2}, uint64(9))
	f.Add([]byte{2, 7, 4, 4, 1, 2, '{', '}', '1'}, uint64(9))
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, uint64(1))
	f.Fuzz(func(t *testing.T, value []byte, last uint64) {
		for _, prefix := range []byte("sig") {
			key := binary.BigEndian.AppendUint64([]byte{prefix}, last)
			_, _ = history.ReadList(key, value) // damaged or not, it returns
			_, _ = history.ReadBlock(key, value)
			history.ReadSections(value, last)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("rollcall/x\n1\nAAAA\n\n— rollcall/x AAAA\n"), "rollcall/x+01234567+AAAA")
	f.Fuzz(func(t *testing.T, signed []byte, key string) {
		_, _ = history.OpenCheckpoint(signed, key) // nobody can sign by chance
	})
}
