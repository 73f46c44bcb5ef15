package raftstore_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// BenchmarkAppend appends at the leader and at a follower of three nodes in this process, which share its disk.
func BenchmarkAppend(b *testing.B) {
	beat := eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"anonymous","schema":1}`)}
	for _, kind := range []string{"lifecycle", "heartbeats"} {
		for _, at := range []string{"leader", "follower"} {
			for _, callers := range []int{1, 256} {
				b.Run(fmt.Sprintf("%s/%s/%d callers", kind, at, callers), func(b *testing.B) {
					dir := b.TempDir()
					c := newCluster(b, three...)
					c.change = func(config *raftstore.Config) {
						config.Dir, config.Store.FS, config.Tick = filepath.Join(dir, config.Node), vfs.Default, 0
					}
					c.startAll()
					name := c.leader()
					if at == "follower" {
						name = c.follower()
					}
					s := c.nodes[name]
					var next atomic.Int64
					b.SetParallelism(max(callers/2, 1))
					b.ResetTimer()
					b.RunParallel(func(pb *testing.PB) {
						id := int(next.Add(1))
						for pb.Next() {
							r := eventstore.AppendRequest{Stream: stream(id), Events: events(1, "x")}
							if kind == "heartbeats" {
								r = eventstore.AppendRequest{Stream: heartbeats(id), Events: []eventstore.EventData{beat}}
							}
							if results, err := s.Append(ctx, nil, r); err != nil || results[0].Err != nil {
								b.Error(err, results)
								return
							}
						}
					})
				})
			}
		}
	}
}
