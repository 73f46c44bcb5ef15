package history

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func (x *index) entry(p eventstore.Position) (e Entry, err error) {
	entries := x.entries()
	defer func() { err = errors.Join(err, entries.close()) }()
	found, err := entries.get(p)
	if err != nil {
		return e, err
	}
	return parseEntry(found)
}

// At is the entry at a position; ok is false where there is none.
func (h *History) At(ctx context.Context, p eventstore.Position) (e Entry, ok bool, err error) {
	if err := h.enter(); err != nil {
		return e, false, err
	}
	defer h.leave()
	if err := ctx.Err(); err != nil {
		return e, false, err
	}
	entries := h.entries()
	defer func() { err = h.blame(errors.Join(err, entries.close())) }()
	found, ok, err := entries.from(p)
	if err != nil || !ok || found.position != p {
		return e, false, err
	}
	e, err = parseEntry(found)
	return e, err == nil, err
}

// First is the oldest entry; ok is false when there is none.
func (h *History) First(ctx context.Context) (e Entry, ok bool, err error) {
	page, err := h.Find(ctx, Query{Limit: 1})
	if err != nil || len(page.Entries) == 0 {
		return e, false, err
	}
	return page.Entries[0], true, nil
}

// Heartbeats sums up an instance's heartbeats in an hour.
type Heartbeats struct {
	Hour       time.Time
	Received   uint64
	LongestGap time.Duration // the longest gap that ended in this hour; a gap may begin with a registration
	Last       time.Time
}

// Heartbeats gives an instance's summaries, oldest first, of the hours that overlap the span from from to to. A zero time is
// no bound.
func (h *History) Heartbeats(ctx context.Context, key domain.Key, from, to time.Time) ([]Heartbeats, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	name := key.String()
	lower, upper := uint64(0), ^uint64(0)
	if !from.IsZero() {
		lower = uint64(max(from.Unix(), 0) / 3600)
	}
	if !to.IsZero() {
		upper = uint64(max(to.Unix(), 0)/3600) + 1
	}
	h.mu.Lock() // so that no summary moves from memory to disk meanwhile
	defer h.mu.Unlock()
	open := h.inMemory(name)
	if open != nil && open.lone {
		if err := h.join(open); err != nil {
			return nil, err
		}
	}
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: indexKey(rangeSummary, name, lower), UpperBound: indexKey(rangeSummary, name, upper)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	byHour := map[int32]sum{}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := decodeSum(int32(tail(it.Key())), it.Value())
		byHour[s.hour] = s
	}
	if open != nil {
		for s := range open.hours {
			if uint64(s.hour) >= lower && uint64(s.hour) < upper {
				byHour[s.hour] = *s
			}
		}
	}
	var all []Heartbeats
	for _, hour := range slices.Sorted(maps.Keys(byHour)) {
		if s := byHour[hour]; s.received > 0 {
			all = append(all, s.show())
		}
	}
	return all, it.Error()
}

func (s *sum) show() Heartbeats {
	return Heartbeats{
		Hour: time.Unix(int64(s.hour)*3600, 0).UTC(), Received: uint64(s.received), LongestGap: time.Duration(s.longest), Last: time.Unix(0, s.last).UTC(),
	}
}
