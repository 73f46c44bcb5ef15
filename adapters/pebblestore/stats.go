package pebblestore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Stats says how much a store holds.
type Stats struct {
	Head             eventstore.Position
	LifecycleStreams uint64
	HeartbeatStreams uint64
	Events           map[string]uint64   // by type; heartbeats among them
	Trimmed          eventstore.Position // heartbeats at lower positions were removed
	OldestHeartbeat  time.Time           // zero: there is none
	DiskBytes        uint64
	LifecycleBytes   uint64 // of the range on disk, as the engine estimates it
	HeartbeatBytes   uint64
}

// Stats counts all events, for which it reads the whole store. progress is told each position; nil: nobody is.
func (s *Store) Stats(ctx context.Context, progress func(eventstore.Position)) (Stats, error) {
	st := Stats{Events: map[string]uint64{}, Trimmed: eventstore.Position(s.trimmed.Load()), DiskBytes: s.DiskUsage()}
	var err error
	if st.Head, err = s.Head(ctx); err != nil {
		return st, err
	}
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return st, err
		}
		st.Events[e.Type]++
		switch {
		case e.Stream.IsHeartbeat():
			if st.OldestHeartbeat.IsZero() {
				st.OldestHeartbeat = e.RecordedAt
			}
		case e.Revision == 0:
			st.LifecycleStreams++
		}
		if progress != nil {
			progress(e.Position)
		}
	}
	number, err := s.lastKey(rangeName)
	if err != nil {
		return st, err
	}
	if number != nil {
		st.HeartbeatStreams = uint64(binary.BigEndian.Uint32(number[len(number)-4:]))
	}
	for prefix, into := range map[byte]*uint64{rangeLifecycle: &st.LifecycleBytes, rangeHeartbeats: &st.HeartbeatBytes} {
		if *into, err = s.db.EstimateDiskUsage([]byte{prefix, '/'}, after(prefix)); err != nil {
			return st, err
		}
	}
	return st, nil
}

// Checkpoint makes a consistent copy of the store, as it is, in a folder that must not exist. Files that
// never change are linked, not copied, where the file system can.
func (s *Store) Checkpoint(dir string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.db.Checkpoint(dir, pebble.WithFlushedWAL())
}

// Durable is the position up to which events are synced.
func (s *Store) Durable() eventstore.Position { return eventstore.Position(s.durable.Load()) }

// Compact rewrites all tables, as the engine does by itself in time.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.db.Compact(ctx, []byte{0}, []byte{0xff}, true)
}
