package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Query picks entries. The zero query picks all, oldest first.
type Query struct {
	Stream    eventstore.StreamName // of a webhook or the registry; no other field of an instance goes with it
	Namespace string
	Service   string // needs a namespace
	ID        string // needs a service
	Actor     string
	Via       string
	RequestID string
	Types     []string // any of them; none: every type
	Reason    string   // a part of the reason or the output; upper and lower case are the same
	After     eventstore.Position
	Before    eventstore.Position // 0: no bound
	Newest    bool                // newest first
	Limit     int                 // 0: no limit
	// Visible limits the entries to those of some streams; nil: those of all.
	Visible func(eventstore.StreamName) bool
}

// Entry is a recorded event as the history has it.
type Entry struct {
	eventstore.RecordedEvent
	Leaf     int64 // number of its leaf in the Merkle tree
	Metadata domain.Metadata
	// Previous is the registration or update before this update; nil: this is no update, or Previous is too far away.
	Previous *eventstore.RecordedEvent
}

// Page is the result of one call of Find.
type Page struct {
	Entries []Entry
	// More says that there may be more entries. Another query finds them with Next as Query.After, or as Query.Before
	// where the newest come first. A page with More may have no entry.
	More bool
	Next eventstore.Position
}

// The limits of one call of Find. A query that matches rarely, or very often, ends there, and another call goes on. So one
// query cannot delay other work for long.
const (
	maxCost      = 100_000 // seeks in the indexes
	entryCost    = 2       // seeks that reading an entry counts for
	decodeCost   = 8       // seeks that decoding an entry counts for
	detailsCost  = 10_000  // seeks to find the details before one update; beyond that, Previous is nil
	maxPageBytes = 8 << 20 // bytes of the entries on a page
)

// Find gives the entries that the query picks, within the limits of one call.
func (h *History) Find(ctx context.Context, q Query) (Page, error) {
	if err := h.enter(); err != nil {
		return Page{}, err
	}
	defer h.leave()
	page, err := h.find(ctx, &q)
	if err != nil {
		return Page{}, h.blame(err)
	}
	return page, nil
}

func (h *History) find(ctx context.Context, q *Query) (page Page, err error) {
	s := h.scan(ctx, q)
	defer func() { err = errors.Join(err, s.close()) }()
	entries := h.entries()
	defer func() { err = errors.Join(err, entries.close()) }()
	details := details{h: h, entries: entries, newest: q.Newest}
	defer func() { err = errors.Join(err, details.close()) }()
	size, updated := 0, -1 // updated is the index of the update whose Previous is the next registration or update; -1: there is none
	whole := q.whole()
	for s.next() {
		if whole && updated < 0 && q.Limit > 0 && len(page.Entries) == q.Limit { // the scan gives only what the query picks
			page.More, page.Next = true, s.before()
			return page, nil
		}
		found, err := entries.get(s.at)
		if err != nil {
			return page, err
		}
		s.cost += entryCost
		if !q.mayMatch(found.canonical) {
			continue
		}
		e, err := parseEntry(found)
		if err != nil {
			return page, err
		}
		s.cost += decodeCost
		if !q.match(&e) || q.Visible != nil && !q.Visible(e.Stream) {
			continue
		}
		before := -1 // the index of the update that this entry is before; -1: there is none
		if updated >= 0 && slices.Contains(detailTypes, e.Type) {
			before, updated = updated, -1
		}
		if size >= maxPageBytes || q.Limit > 0 && len(page.Entries) == q.Limit {
			if before = max(before, updated); before >= 0 {
				page.Entries[before].Previous, err = details.before(ctx, &page.Entries[before], &s.cost)
			}
			page.More, page.Next = true, s.before()
			return page, err
		}
		switch {
		case e.Type != domain.TypeInstanceUpdated:
		case whole:
			updated = len(page.Entries)
		default:
			if e.Previous, err = details.before(ctx, &e, &s.cost); err != nil {
				return page, err
			}
		}
		if page.Entries == nil && q.Limit > 0 {
			page.Entries = make([]Entry, 0, min(q.Limit, 16, s.inSight()))
		}
		page.Entries = append(page.Entries, e)
		if before >= 0 {
			page.Entries[before].Previous = &page.Entries[len(page.Entries)-1].RecordedEvent
		}
		size += len(found.canonical)
	}
	if s.stopped {
		page.More, page.Next = true, s.before()
	}
	if updated >= 0 && s.err == nil { // the bounds of the query may have ended the scan
		page.Entries[updated].Previous, err = details.before(ctx, &page.Entries[updated], &s.cost)
	}
	return page, errors.Join(err, s.err)
}

// whole says whether the query picks all of an instance's entries within its bounds, the newest first: what is before an update is
// then the next registration or update that the query picks.
func (q *Query) whole() bool {
	return q.ID != "" && q.Newest && len(q.Types) == 0 && q.Stream == "" && q.Actor == "" && q.Via == "" && q.RequestID == "" && q.Reason == "" && q.Visible == nil
}

// AllNewest says whether the query picks the newest entries of an instance, without a bound.
func (q *Query) AllNewest() bool { return q.whole() && q.After == 0 && q.Before == 0 }

// mayMatch looks at an entry as it is stored. False means that the query does not pick the entry. It checks fields that
// have no index, and is much faster than decoding the entry.
func (q *Query) mayMatch(raw []byte) bool {
	if q.Via == "" && q.Reason == "" && q.RequestID == "" {
		return true
	}
	if !unescaped(raw) {
		return true
	}
	if unescaped([]byte(q.Via)) && !bytes.Contains(raw, []byte(q.Via)) {
		return false
	}
	if unescaped([]byte(q.RequestID)) && !bytes.Contains(raw, []byte(q.RequestID)) {
		return false
	}
	return !unescaped([]byte(q.Reason)) || bytes.Contains(bytes.ToLower(raw), bytes.ToLower([]byte(q.Reason)))
}

// unescaped says whether text is the same in JSON: it has no escape, and every character is one byte.
func unescaped(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}

func (q *Query) match(e *Entry) bool {
	if q.Namespace != "" {
		key, ok := e.Stream.InstanceKey()
		if !ok || key.Namespace != q.Namespace || q.Service != "" && key.Service != q.Service || q.ID != "" && key.ID != q.ID {
			return false
		}
	}
	if q.RequestID != "" && e.Metadata.RequestID != q.RequestID {
		return false
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
