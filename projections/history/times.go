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
type search struct {
	times   *pebble.Iterator
	entries *entries
}

func (x *index) newSearch() (*search, error) {
	entries := x.entries()
	times, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeTime, 0), UpperBound: key64(rangeTime+1, 0)})
	return &search{times, entries}, err
}

func (s *search) close() error { return errors.Join(s.times.Close(), s.entries.close()) }

func (s *search) positionAt(at time.Time) (eventstore.Position, error) {
	// INVARIANT: the entry at low is recorded at or before the time, or low is 0; no entry from high on is.
	low, high := eventstore.Position(0), ^eventstore.Position(0)
	switch {
	case at.Unix() < 0: // UnixNano of a time before 1678 is a number of another time
		return 0, nil
	case s.times.SeekLT(timeKey(at.Add(1))):
		low = eventstore.Position(binary.BigEndian.Uint64(s.times.Value()))
		if s.times.Next() {
			high = eventstore.Position(binary.BigEndian.Uint64(s.times.Value()))
		}
	case s.times.First():
		return 0, nil // the first key is of the first entry
	}
	if err := s.times.Error(); err != nil {
		return 0, err
	}
	if high == ^eventstore.Position(0) {
		newest, ok, err := s.entries.upTo(high)
		if err != nil || !ok {
			return 0, err
		}
		high = newest.position + 1
	}
	for low+1 < high {
		middle := low + (high-low)/2
		found, ok, err := s.entries.from(middle)
		if err != nil {
			return 0, err
		}
		if !ok || found.position >= high { // no entry between middle and high
			high = middle
			continue
		}
		recorded, err := recordedAt(found.canonical)
		if err != nil {
			return 0, err
		}
		if recorded.After(at) {
			high = middle // nor is any between middle and that entry
		} else {
			low = found.position
		}
	}
	return low, nil
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
