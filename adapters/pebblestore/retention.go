package pebblestore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// PositionAt is the position of the newest event that was recorded at or before the time; 0: there is none.
func (s *Store) PositionAt(ctx context.Context, at time.Time) (eventstore.Position, error) {
	from, err := s.indexedBefore(at)
	if err != nil {
		return 0, err
	}
	position := eventstore.Position(0)
	if from > 0 { // the index has the first event of a commit, which was recorded at or before at
		position = from
	}
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{After: max(from, 1) - 1}) {
		if err != nil {
			return 0, err
		}
		if e.RecordedAt.After(at) {
			break
		}
		position = e.Position
	}
	return position, nil
}

// indexedBefore is the position that the time index has for the latest time up to at, or 0.
func (s *Store) indexedBefore(at time.Time) (eventstore.Position, error) {
	if at.Unix() < 0 { // UnixNano of a time before 1678 is a number of another time
		return 0, nil
	}
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeTime, '/'}, UpperBound: after(rangeTime)})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.SeekLT(timeKey(at.Add(1))) {
		return 0, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, err
	}
	return min(eventstore.Position(binary.BigEndian.Uint64(v)), eventstore.Position(s.durable.Load())), nil
}

// maxGap is how much a time without events counts at most, where the log's times cannot be trusted.
const maxGap = time.Minute

// Retain removes the heartbeats that were recorded longer ago than keep.
//
// After the store has taken a wrong clock, the log's times say little about the age of a heartbeat. The age is then the
// sum of the times between events, each counted up to a minute. A step of the clock counts as a minute, and so does an
// hour without events: heartbeats are kept longer for it.
func (s *Store) Retain(keep time.Duration) (upTo eventstore.Position, err error) {
	before, err := s.retained(keep)
	if err != nil {
		return 0, err
	}
	return s.TrimHeartbeats(before)
}

// retained is the time from which on heartbeats are kept.
func (s *Store) retained(keep time.Duration) (time.Time, error) {
	if s.clock.ahead() {
		return s.beforeActive(keep)
	}
	return s.Now().Add(-keep), nil
}

// beforeActive is the log's time after which the log has the active time keep. It is zero if the log has less.
func (s *Store) beforeActive(keep time.Duration) (time.Time, error) {
	if err := s.enter(); err != nil {
		return time.Time{}, err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeTime, '/'}, UpperBound: after(rangeTime)})
	if err != nil {
		return time.Time{}, err
	}
	defer it.Close()
	var later int64
	for ok := it.Last(); ok; ok = it.Prev() {
		at := int64(tail(it.Key()))
		if later != 0 {
			keep -= min(time.Duration(later-at), maxGap)
		}
		if keep <= 0 {
			return time.Unix(0, at), nil
		}
		later = at
	}
	return time.Time{}, it.Error()
}

// TrimHeartbeats removes the heartbeats that were recorded before the time. It may keep heartbeats of one more second.
// Revisions and positions are not given again. Lifecycle events are never removed.
func (s *Store) TrimHeartbeats(before time.Time) (upTo eventstore.Position, err error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	if upTo, err = s.indexedBefore(before); err != nil || uint64(upTo) <= s.trimmed.Load() {
		return eventstore.Position(s.trimmed.Load()), err
	}
	if err := s.saveHeadsBefore(upTo); err != nil { // the heads cannot be computed from blocks that are removed
		return 0, err
	}
	if err := s.deleteHeartbeats(upTo, pebble.Sync); err != nil {
		return 0, err
	}
	return upTo, nil
}

// deleteHeartbeats removes the heartbeats at lower positions. REQUIRES: no head needs them, and upTo is in the time index.
func (s *Store) deleteHeartbeats(upTo eventstore.Position, sync *pebble.WriteOptions) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	defer b.Close()
	// INVARIANT: a position in the time index begins a block, so no block has heartbeats on both sides of upTo.
	_ = b.DeleteRange(blockKey(0), blockKey(upTo), nil)
	_ = b.Set(keyTrimmed, binary.BigEndian.AppendUint64(nil, uint64(upTo)), nil)
	if err := b.Commit(sync); err != nil {
		return err
	}
	s.trimmed.Store(uint64(upTo))
	return nil
}
