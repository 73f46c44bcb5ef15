package history

import (
	"bytes"
	"context"
	"encoding/binary"
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

func (x *index) positionAt(at time.Time) (eventstore.Position, error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeTime, 0), UpperBound: key64(rangeTime+1, 0)})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if at.UnixNano() < 0 || !it.SeekLT(timeKey(at.Add(1))) {
		return 0, it.Error()
	}
	// INVARIANT: the entry at low is recorded at or before the time; no entry from high on is.
	low, high := binary.BigEndian.Uint64(it.Value()), ^uint64(0)
	if it.Next() {
		high = binary.BigEndian.Uint64(it.Value())
	}
	if err := it.Error(); err != nil {
		return 0, err
	}
	entries, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeEntry, low), UpperBound: key64(rangeEntry, high)})
	if err != nil {
		return 0, err
	}
	defer entries.Close()
	if entries.Last() {
		high = tail(entries.Key()) + 1
	}
	for low+1 < high {
		middle := low + (high-low)/2
		if !entries.SeekGE(key64(rangeEntry, middle)) { // no entry from there on
			high = middle
			continue
		}
		recorded, err := recordedAt(entries.Value())
		if err != nil {
			return 0, err
		}
		if recorded.After(at) {
			high = middle // nor is any between middle and that entry
		} else {
			low = tail(entries.Key())
		}
	}
	return eventstore.Position(low), entries.Error()
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
