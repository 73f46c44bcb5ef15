package pebblestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A store that rests writes its memtables to disk, so that it can give their memory back. Appends and reads go on as before.
func TestAStoreThatRestsFlushesItsMemtables(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem(), MinFree: 1})
	large := beat
	large.Metadata = []byte(`{"actor":"` + strings.Repeat("a", 256<<10) + `","schema":1}`)
	const events = 8
	for range events {
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: []eventstore.EventData{large}}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); s.Flushes() < 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after two minutes of rest the engine has flushed %d times", s.Flushes())
		}
	}
	waitFor(t, "the index is written", func() bool { return s.Unindexed() == 0 })
	appendOne(t, s, stream(1))
	n := 0
	for _, err := range s.ReadStream(ctx, stream(1), eventstore.ReadOptions{}) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != events+1 {
		t.Errorf("%d events are readable, want %d", n, events+1)
	}
}
