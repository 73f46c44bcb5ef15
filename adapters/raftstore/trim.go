package raftstore

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// cut removes the oldest entries of the log once it has twice as many bytes as are to be kept. The store is synced first: what
// it has not durably comes from the log after a crash.
func (s *Store) cut() error {
	keep := s.config.LogBytes
	if s.log.size() < 2*keep {
		return nil
	}
	upTo := s.log.before(keep)
	s.applier.mu.Lock()
	upTo = min(upTo, s.applier.saved, s.engine.view.Load().applied)
	s.applier.mu.Unlock()
	if needed, ok := s.snapshots.needed(); ok {
		upTo = min(upTo, needed)
	}
	g := s.generation.Load()
	if g == nil || upTo == 0 {
		return nil
	}
	if err := g.Sync(); err != nil {
		if errors.Is(err, eventstore.ErrClosed) { // another store takes its place, or the node is closed
			return nil
		}
		return err
	}
	return s.log.cutTo(upTo)
}

// Trim removes the heartbeats that were recorded longer ago than keep, on all nodes. Only the leader does so; on every other
// node Trim does nothing.
func (s *Store) Trim(keep time.Duration) error {
	store := s.current()
	if store == nil || s.engine.view.Load().role != raft.StateLeader {
		return nil
	}
	before, err := store.Trimmable(keep)
	if err != nil || before == 0 {
		return err
	}
	s.engine.propose(encodeTrim(before))
	return nil
}
