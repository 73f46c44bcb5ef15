package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// PositionAt is the position of the newest lifecycle event recorded at or before a time; 0 when
// there is none. The time index gives the second, and a binary search finds the entry, because recorded times never decrease.
func (h *History) PositionAt(ctx context.Context, at time.Time) (eventstore.Position, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := h.positionAt(at)
	return p, h.blame(err)
}

// PositionsAt is PositionAt for several times. REQUIRES: the times are in order.
func (h *History) PositionsAt(ctx context.Context, times []time.Time) (all []eventstore.Position, err error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	s, err := h.newSearch()
	if err != nil {
		return nil, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, s.close())) }()
	for _, at := range times {
		if err := h.interrupted(ctx); err != nil {
			return nil, err
		}
		p, err := s.positionAt(at)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (x *index) positionAt(at time.Time) (p eventstore.Position, err error) {
	s, err := x.newSearch()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.positionAt(at)
}

// search finds positions by times.
type search struct{ times, entries *pebble.Iterator }

func (x *index) newSearch() (*search, error) {
	times, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeTime, 0), UpperBound: key64(rangeTime+1, 0)})
	if err != nil {
		return nil, err
	}
	entries, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeEntry, 0), UpperBound: key64(rangeEntry+1, 0)})
	if err != nil {
		return nil, errors.Join(err, times.Close())
	}
	return &search{times, entries}, nil
}

func (s *search) close() error { return errors.Join(s.times.Close(), s.entries.Close()) }

func (s *search) positionAt(at time.Time) (eventstore.Position, error) {
	if at.UnixNano() < 0 || !s.times.SeekLT(timeKey(at.Add(1))) {
		return 0, s.times.Error()
	}
	// INVARIANT: the entry at low is recorded at or before the time; no entry from high on is.
	low, high := binary.BigEndian.Uint64(s.times.Value()), ^uint64(0)
	if s.times.Next() {
		high = binary.BigEndian.Uint64(s.times.Value())
	}
	if err := s.times.Error(); err != nil {
		return 0, err
	}
	if high == ^uint64(0) && s.entries.Last() {
		high = tail(s.entries.Key()) + 1
	}
	for low+1 < high {
		middle := low + (high-low)/2
		if !s.entries.SeekGE(key64(rangeEntry, middle)) { // no entry from there on
			high = middle
			continue
		}
		found := tail(s.entries.Key())
		if found >= high { // no entry between middle and high
			high = middle
			continue
		}
		recorded, err := recordedAt(s.entries.Value())
		if err != nil {
			return 0, err
		}
		if recorded.After(at) {
			high = middle // nor is any between middle and that entry
		} else {
			low = found
		}
	}
	return eventstore.Position(low), s.entries.Error()
}

var recordedField = []byte(`,"recorded_at":"`)

// recordedAt reads when an entry was recorded without decoding the rest. What stands before the field are
// texts, in which a quotation mark has a backslash.
func recordedAt(raw []byte) (time.Time, error) {
	_, rest, found := bytes.Cut(raw, recordedField)
	text, _, ended := bytes.Cut(rest, []byte{'"'})
	if !found || !ended {
		return time.Time{}, fmt.Errorf("history: an entry is damaged: it does not say when it was recorded")
	}
	return time.Parse(time.RFC3339Nano, string(text))
}
