package pebblestore

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/memtables"
)

// releaseMemtables gives the memory of the memtables, and of what the index of the streams lacks, back whenever little is written after much was,
// until the store closes.
func (s *Store) releaseMemtables() {
	t := time.NewTicker(memtables.Pause)
	defer t.Stop()
	var rest memtables.Rest
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
		}
		if s.Err() != nil || !rest.Due(s.batched.Load()) { // a table needs space on the disk
			continue
		}
		s.unindexed.close(s.Durable())
		if err := memtables.Release(s.db, s.cache, s.rotate, s.flushed); err != nil {
			return // the store closes, or takes no more writes
		}
	}
}

// rotate has the committer begin a new memtable.
func (s *Store) rotate() (flushed <-chan struct{}, err error) {
	p := &pending{rotate: true, done: make(chan struct{}, 1)}
	if err := s.submit(context.Background(), p); err != nil {
		return nil, err
	}
	<-p.done
	return p.rotated, p.err
}

// flushed waits for a flush. A flush that fails is tried again until the store closes.
func (s *Store) flushed(ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-s.closing:
		return eventstore.ErrClosed
	}
}
