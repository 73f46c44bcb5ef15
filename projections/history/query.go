package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Query picks entries. The zero query picks all, oldest first.
type Query struct {
	Stream    eventstore.StreamName // of something that is no instance; alone
	Namespace string
	Service   string // needs a namespace
	ID        string // needs a service
	Actor     string
	Via       string
	Types     []string // any of them; none: every type
	Reason    string   // found anywhere in the reason or the output, whatever the case of its letters
	After     eventstore.Position
	Before    eventstore.Position // 0: no bound
	Newest    bool                // newest first
	Limit     int                 // 0: no limit
}

// Entry is a recorded event with what the history knows of it.
type Entry struct {
	eventstore.RecordedEvent
	Leaf     int64 // number in the tree
	Metadata domain.Metadata
	// Previous is the event that said last what the instance is, where this one changes that.
	Previous *eventstore.RecordedEvent
}

// Page is what one call of Find gives.
type Page struct {
	Entries []Entry
	// More says that there may be more entries. They are found from Next on: by Query.After when the oldest
	// come first, by Query.Before when the newest do. A page with More may hold no entry at all.
	More bool
	Next eventstore.Position
}

// A call of Find looks at so many entries, or gives so many bytes of them, and leaves what comes behind to
// another call: whoever asks for what is rare, or for all there is, has others wait for no more than that.
const (
	maxLooked    = 10_000
	maxPageBytes = 8 << 20
)

// Find gives the picked entries, as far as one call goes.
func (h *History) Find(ctx context.Context, q Query) (page Page, err error) {
	if err := h.enter(); err != nil {
		return page, err
	}
	defer h.leave()
	looked, size := 0, 0
	last := eventstore.Position(0)
	for p, err := range h.candidates(&q) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return Page{}, err
		}
		if looked == maxLooked || size >= maxPageBytes {
			page.More, page.Next = true, last
			return page, nil
		}
		e, err := h.entry(p)
		if err != nil {
			return Page{}, err
		}
		if !q.match(&e) {
			looked, last = looked+1, p
			continue
		}
		if q.Limit > 0 && len(page.Entries) == q.Limit {
			page.More, page.Next = true, last
			return page, nil
		}
		looked, last = looked+1, p
		if e.Type == domain.TypeInstanceUpdated {
			if e.Previous, err = h.previousDetails(&e); err != nil {
				return Page{}, err
			}
		}
		page.Entries = append(page.Entries, e)
		size += len(e.Data) + len(e.RecordedEvent.Metadata)
	}
	return page, nil
}

// candidates come from the index that picks fewest.
func (h *History) candidates(q *Query) iter.Seq2[eventstore.Position, error] {
	from, to := q.After+1, ^eventstore.Position(0)
	if q.Before != 0 {
		to = q.Before - 1
	}
	var t term
	switch {
	case q.Stream != "":
		t = term{rangeInstance, string(q.Stream)}
	case q.ID != "":
		t = term{rangeInstance, domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.ID}.String()}
	case q.Service != "":
		t = term{rangeService, domain.ServiceKey{Namespace: q.Namespace, Service: q.Service}.String()}
	case q.Actor != "":
		t = term{rangeActor, q.Actor}
	case len(q.Types) == 1:
		t = term{rangeType, q.Types[0]}
	case q.Namespace != "":
		t = term{rangeNamespace, q.Namespace}
	default:
		return h.allPositions(from, to, q.Newest)
	}
	return h.positions(t, from, to, q.Newest)
}

func (q *Query) match(e *Entry) bool {
	if q.Namespace != "" {
		key, ok := e.Stream.InstanceKey()
		if !ok || key.Namespace != q.Namespace || q.Service != "" && key.Service != q.Service || q.ID != "" && key.ID != q.ID {
			return false
		}
	}
	if q.Actor != "" && e.Metadata.Actor != q.Actor || q.Via != "" && e.Metadata.Via != q.Via || len(q.Types) > 0 && !slices.Contains(q.Types, e.Type) {
		return false
	}
	if q.Reason == "" {
		return true
	}
	var said struct{ Reason, Output string }
	if err := json.Unmarshal(e.Data, &said); err != nil {
		return false
	}
	sought := bytes.ToLower([]byte(q.Reason))
	return bytes.Contains(bytes.ToLower([]byte(said.Reason)), sought) || bytes.Contains(bytes.ToLower([]byte(said.Output)), sought)
}

func (h *History) entry(p eventstore.Position) (e Entry, err error) {
	v, closer, err := h.db.Get(entryKey(p))
	if err != nil {
		return e, fmt.Errorf("history: entry at position %d: %w", p, err)
	}
	defer closer.Close()
	leaf, n := binary.Uvarint(v)
	if n <= 0 {
		return e, fmt.Errorf("history: entry at position %d is damaged", p)
	}
	if e.RecordedEvent, err = eventstore.ParseJSON(v[n:]); err != nil {
		return e, err
	}
	e.Position, e.Leaf = p, int64(leaf)
	_ = json.Unmarshal(e.RecordedEvent.Metadata, &e.Metadata) // another writer's may be anything
	return e, nil
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
	if v, err := h.get(entryKey(p)); err != nil || v == nil {
		return e, false, err
	}
	e, err = h.entry(p)
	return e, err == nil, err
}

// previousDetails is the registration or update before an update.
func (h *History) previousDetails(e *Entry) (*eventstore.RecordedEvent, error) {
	key, ok := e.Stream.InstanceKey()
	if !ok {
		return nil, nil
	}
	for p, err := range h.positions(term{rangeInstance, key.String()}, 0, e.Position-1, true) {
		if err != nil {
			return nil, err
		}
		before, err := h.entry(p)
		if err != nil {
			return nil, err
		}
		if before.Type == domain.TypeInstanceRegistered || before.Type == domain.TypeInstanceUpdated {
			return &before.RecordedEvent, nil
		}
	}
	return nil, nil
}

// First is the oldest entry; ok is false when there is none.
func (h *History) First(ctx context.Context) (e Entry, ok bool, err error) {
	page, err := h.Find(ctx, Query{Limit: 1})
	if err != nil || len(page.Entries) == 0 {
		return e, false, err
	}
	return page.Entries[0], true, nil
}

// PositionAt is the position of the newest lifecycle event recorded at or before a time; 0 when
// there is none.
func (h *History) PositionAt(ctx context.Context, at time.Time) (eventstore.Position, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeTime, 0), UpperBound: key64(rangeTime+1, 0)})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if at.UnixNano() < 0 || !it.SeekLT(timeKey(at.Add(1))) {
		return 0, it.Error()
	}
	from := binary.BigEndian.Uint64(it.Value())
	entries, err := h.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeEntry, from), UpperBound: key64(rangeEntry+1, 0)})
	if err != nil {
		return 0, err
	}
	defer entries.Close()
	position := eventstore.Position(0)
	for ok := entries.First(); ok; ok = entries.Next() { // a second's at most
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		_, n := binary.Uvarint(entries.Value())
		e, err := eventstore.ParseJSON(entries.Value()[max(n, 0):])
		if err != nil {
			return 0, err
		}
		if e.RecordedAt.After(at) {
			break
		}
		position = eventstore.Position(tail(entries.Key()))
	}
	return position, entries.Error()
}

// Heartbeats is a summary of an instance's heartbeats in an hour.
type Heartbeats struct {
	Hour       time.Time
	Received   uint64
	LongestGap time.Duration // that ended in this hour; a registration counts as being heard
	Last       time.Time
}

// Heartbeats gives an instance's summaries, oldest first, of hours that overlap from and to (zero:
// no bound).
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
	h.mu.Lock() // what is not on disk yet may be moved there meanwhile
	defer h.mu.Unlock()
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: indexKey(rangeSummary, name, lower), UpperBound: indexKey(rangeSummary, name, upper)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	byHour := map[int64]summary{}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := decodeSummary(int64(tail(it.Key())), it.Value())
		byHour[s.hour] = s
	}
	if open := h.open[name]; open != nil {
		for _, s := range append(open.earlier, *open) {
			if uint64(s.hour) >= lower && uint64(s.hour) < upper {
				byHour[s.hour] = s
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

func (s *summary) show() Heartbeats {
	return Heartbeats{
		Hour: time.Unix(s.hour*3600, 0).UTC(), Received: s.received, LongestGap: time.Duration(s.longest), Last: time.Unix(0, s.last).UTC(),
	}
}
