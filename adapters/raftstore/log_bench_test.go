package raftstore

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// BenchmarkAStartWithALongLog is the start of a node whose log has 200,000 small entries, more than the tail in memory holds.
func BenchmarkAStartWithALongLog(b *testing.B) {
	fs, logger := vfs.NewMem(), slog.New(slog.DiscardHandler)
	l, err := openLog("log", fs, 64<<20, logger)
	if err != nil {
		b.Fatal(err)
	}
	for index := uint64(1); index <= 200_000; {
		batch := &logBatch{}
		var entries []*raftpb.Entry
		for range 1000 {
			entries = append(entries, &raftpb.Entry{Index: new(index), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: make([]byte, 300)})
			index++
		}
		batch.add(entries)
		if err := l.write(batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := openLog("log", fs, 64<<20, logger)
		if err != nil {
			b.Fatal(err)
		}
		if l.last != 200_000 || l.cached(200_000) == nil || l.cached(1) != nil || l.tailSize > tailBytes {
			b.Errorf("the log ends at %d, with a tail of %d bytes", l.last, l.tailSize)
		}
		if err := l.close(); err != nil {
			b.Fatal(err)
		}
	}
}
