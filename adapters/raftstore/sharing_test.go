package raftstore_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// slow is a disk whose log takes a while for each sync, from some moment on.
type slow struct {
	takes atomic.Int64 // nanoseconds
	syncs atomic.Int64
}

// MaybeError implements errorfs.Injector.
func (s *slow) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSyncData && strings.HasPrefix(op.Path, "data/raft/log") {
		s.syncs.Add(1)
		time.Sleep(time.Duration(s.takes.Load()))
	}
	return nil
}

func (s *slow) String() string { return "slow" }

// At a moderate rate each node has a block of few heartbeats again and again. The blocks of the three nodes go into the log together:
// one by one they would take three times as many syncs, of all nodes.
func TestNodesShareTheirRoundsAtAModerateRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, c := &slow{}, newCluster(t, three...)
		c.change = func(config *raftstore.Config) {
			config.Tick, config.Store.FS = 50*time.Millisecond, errorfs.Wrap(vfs.NewMem(), disk)
		}
		c.startAll()
		c.leader()
		blocks := func() (n uint64) {
			for _, s := range c.nodes {
				n += s.Status().Proposals.Count
			}
			return n
		}
		disk.takes.Store(int64(time.Millisecond))
		before, syncs, began := blocks(), disk.syncs.Load(), time.Now()
		const callers, calls, pause = 60, 50, 6 * time.Millisecond // 10,000 a second
		beat := eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":1}`)}
		var group sync.WaitGroup
		for caller := range callers {
			group.Go(func() {
				for n := range calls {
					time.Sleep(time.Until(began.Add(time.Duration(n*callers+caller) * pause / callers)))
					results, err := c.nodes[three[caller%3]].Append(ctx, nil, eventstore.AppendRequest{Stream: heartbeats(caller), Events: []eventstore.EventData{beat}})
					if err != nil || results[0].Err != nil {
						t.Errorf("a heartbeat: %v, %v", results, err)
					}
				}
			})
		}
		group.Wait()
		disk.takes.Store(0)
		made, rounds := blocks()-before, uint64(disk.syncs.Load()-syncs)/3
		t.Logf("%d heartbeats, %d blocks, %d rounds", callers*calls, made, rounds)
		if made < 2*rounds {
			t.Errorf("%d blocks went into the log in %d rounds", made, rounds)
		}
	})
}
