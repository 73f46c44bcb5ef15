package history

import (
	"context"
	"errors"
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
func (h *History) Heartbeats(ctx context.Context, key domain.Key, from, to time.Time) (all []Heartbeats, err error) {
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
	stored, young, err := h.sums(name, lower, upper)
	if err != nil {
		return nil, err
	}
	add := func(s *sum) {
		if s.received > 0 {
			all = append(all, s.show())
		}
	}
	if stored != nil {
		defer func() { err = errors.Join(err, stored.Close()) }()
	}
	for ok := stored != nil && stored.First(); ok; ok = stored.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := decodeSum(int32(tail(stored.Key())), stored.Value())
		for len(young) > 0 && young[0].hour < s.hour {
			add(&young[0])
			young = young[1:]
		}
		if len(young) > 0 && young[0].hour == s.hour { // it is newer
			continue
		}
		add(&s)
	}
	for i := range young {
		add(&young[i])
	}
	if stored != nil {
		err = stored.Error()
	}
	return all, err
}

// sums are the sums of an instance's heartbeats of some hours, from lower up to and without upper: the iterator has those on disk, and
// young has those in memory, in order, which are newer where both have an hour. The caller closes the iterator; nil: the disk has none
// that matters.
func (x *index) sums(name string, lower, upper uint64) (stored *pebble.Iterator, young []sum, err error) {
	x.mu.Lock() // so that no summary moves from memory to disk before the iterator has its view
	defer x.mu.Unlock()
	if open := x.inMemory(name); open != nil {
		if open.lone {
			if err := x.join(open); err != nil {
				return nil, nil, err
			}
		}
		for s := range open.hours {
			if uint64(s.hour) >= lower && uint64(s.hour) < upper {
				young = append(young, *s)
			}
		}
		if open.first {
			return nil, young, nil
		}
	}
	stored, err = x.db.NewIter(&pebble.IterOptions{LowerBound: indexKey(rangeSummary, name, lower), UpperBound: indexKey(rangeSummary, name, upper)})
	return stored, young, err
}

func (s *sum) show() Heartbeats {
	return Heartbeats{
		Hour: time.Unix(int64(s.hour)*3600, 0).UTC(), Received: uint64(s.received), LongestGap: time.Duration(s.longest), Last: time.Unix(0, s.last).UTC(),
	}
}
