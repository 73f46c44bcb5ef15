package history_test

import (
	"testing"

	"github.com/rollcall-registry/rollcall/projections/history"
)

func FuzzStoredPostings(f *testing.F) {
	f.Add([]byte{3, 1, 2}, uint64(9))
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, uint64(1))
	f.Fuzz(func(t *testing.T, value []byte, last uint64) {
		key := make([]byte, 8)
		for i := range key {
			key[i] = byte(last >> (56 - 8*i))
		}
		_, _ = history.ReadPostings(key, value) // damaged or not, it returns
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("rollcall/x\n1\nAAAA\n\n— rollcall/x AAAA\n"), "rollcall/x+01234567+AAAA")
	f.Fuzz(func(t *testing.T, signed []byte, key string) {
		_, _ = history.OpenCheckpoint(signed, key) // nobody can sign by chance
	})
}
