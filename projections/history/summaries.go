package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// sum sums up an instance's heartbeats of one hour.
type sum struct {
	longest  int64 // the longest gap that ended in this hour, nanoseconds
	last     int64 // recorded time of the newest heartbeat or registration, Unix nanoseconds
	received uint32
	hour     int32 // Unix hours
}

func (s *sum) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.received))
	b = binary.AppendVarint(b, s.longest)
	return binary.AppendVarint(b, s.last)
}

func decodeSum(hour int32, v []byte) sum {
	r := packed.Reader{B: v}
	return sum{hour: hour, received: uint32(r.Uvarint()), longest: r.Varint(), last: r.Varint()}
}

// summary has the sum of an instance's newest hour. It is in memory until it is written, and is guarded by index.mu.
//
// INVARIANT: a summary that is dirty, or gone, is in index.changed. A lone summary is dirty.
type summary struct {
	sum
	name    string
	older   *older
	number  uint32 // of the heartbeat stream, see index.numbered; 0: not known
	hash    uint32 // of the name
	dirty   bool   // it is not on disk in this form yet
	listed  bool   // it is in index.changed
	seeded  bool   // it was taken over from an older folder, and has all events up to last
	gone    bool   // the instance has ended: writeSummaries drops the summary once it is written
	first   bool   // the disk has no sum of an earlier hour
	lone    bool   // it lacks what the disk has of the instance, see join
	rested  bool   // the instance may have an older sum in index.resting, under a number that is not known
	unheard bool   // it has the first registration of its stream and nothing else, so the disk has no sum, see joinRegistered
}

// older is what a summary needs until it is written.
type older struct {
	hours []sum // of earlier hours, not on disk yet
	first int64 // of a lone summary: recorded time of its first event if that is a heartbeat, Unix nanoseconds; 0: it is a registration
}

// Hash implements sparse.Item.
func (s *summary) Hash() uint32 { return s.hash }

// Is implements sparse.Item.
func (s *summary) Is(name string) bool { return s.name == name }

// hours yields the hours that are in memory, oldest first.
func (s *summary) hours(yield func(*sum) bool) {
	if s.older != nil {
		for i := range s.older.hours {
			if !yield(&s.older.hours[i]) {
				return
			}
		}
	}
	yield(&s.sum)
}

// firstHours is of how many instances in their first hour summaries are kept, so that their history is asked for without the disk. A summary
// takes three times what a sum takes, and a million instances may come in one hour.
const firstHours = 1 << 16

func (h *History) noteHeartbeat(e *eventstore.RecordedEvent) {
	if _, ok := domain.RenewedCheck(e.Data); ok { // a report of a check is no heartbeat of its instance
		return
	}
	h.unflushed++
	n := e.StreamNumber
	s := h.numbered.At(n)
	if s == nil {
		s = h.opened(strings.TrimPrefix(string(e.Stream), eventstore.HeartbeatPrefix), n)
	}
	h.hear(s, e.RecordedAt, true)
}

// noteLifecycle begins the gaps of a new epoch with its registration, and notes that an instance has ended. of is the event's subject in
// a rebuild.
func (h *History) noteLifecycle(e *eventstore.RecordedEvent, of *subject) {
	name := strings.TrimPrefix(string(e.Stream), eventstore.LifecyclePrefix)
	var s *summary
	switch e.Type {
	case domain.TypeInstanceRegistered:
		if of != nil {
			s = h.summaryOf(of)
		} else {
			s = h.opened(name, 0)
		}
	case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		if s = h.inMemory(name); s != nil {
			s.gone = true
			h.list(s)
		}
		return
	default:
		return
	}
	if e.Revision == 0 && s.last == 0 { // the instance is new, so the disk has nothing, except what a rebuild keeps, which is in memory
		s.lone, s.first, s.rested = false, true, false
		if strings.IndexByte(name, 0) < 0 && !strings.Contains(name, cleaned) { // else another name may share its list, see indexName
			s.unheard, s.seeded, s.gone = true, false, false
			s.sum = sum{hour: hourOf(e.RecordedAt), last: e.RecordedAt.UnixNano()}
			h.newest = max(h.newest, s.hour)
			return
		}
	}
	h.hear(s, e.RecordedAt, false)
}

func hourOf(at time.Time) int32 { return int32(at.Unix() / 3600) }

// inMemory is the instance's summary; nil: there is none. REQUIRES: mu is held.
func (x *index) inMemory(name string) *summary {
	if x.names != nil {
		if of := x.names.instance(name); of != nil && of.summary != nil {
			return of.summary
		}
	}
	return x.open.Find(nameHash(name), name)
}

// opened is the instance's summary in memory. Where there is none it is made, as a lone one: to look up each of a million
// instances that are first heard after a start would take longer than to join their summaries, in order, when they are written.
// While a rebuild has summaries of an older folder, those are in memory, and the disk has no others. number is the number of the
// heartbeat stream; 0: it is not known. REQUIRES: mu is held.
func (x *index) opened(name string, number uint32) *summary {
	s := x.inMemory(name)
	if s == nil {
		name = strings.Clone(name)
		s = &summary{name: name, hash: nameHash(name), lone: !x.seeded, rested: true}
		if sum, ok := x.resting.take(number, s.hash); ok {
			s.sum, s.lone = sum, false
		}
		x.open.Add(s)
	}
	if number > 0 {
		x.resting.take(number, s.hash) // of a summary that was there it is older
		x.numbered.Set(number, s)
		s.number, s.rested = number, false
	}
	return s
}

// list has the next call of writeSummaries look at a summary.
func (x *index) list(s *summary) {
	if !s.listed {
		s.listed = true
		x.changed = append(x.changed, s)
	}
}

// hear adds a heartbeat or a registration to the summary of its hour. The sums of earlier hours stay in memory until a batch
// has them.
func (x *index) hear(s *summary, at time.Time, heartbeat bool) {
	now, hour := at.UnixNano(), hourOf(at)
	if s.seeded && now <= s.last {
		return
	}
	s.seeded, s.gone, s.unheard = false, false, false
	if s.hour != hour {
		if s.dirty {
			s.keepOlder().hours = append(s.older.hours, s.sum)
		}
		s.first = s.first && s.hour == 0
		s.sum = sum{hour: hour, last: s.last}
		x.newest = max(x.newest, hour)
	}
	if heartbeat {
		if s.last != 0 {
			s.longest = max(s.longest, now-s.last)
		} else if s.lone {
			s.keepOlder().first = now
		}
		s.received++
	}
	s.last, s.dirty = now, true
	x.list(s)
}

func (s *summary) keepOlder() *older {
	if s.older == nil {
		s.older = new(older)
	}
	return s.older
}

// join adds to a lone summary what the disk has of the instance. REQUIRES: mu is held.
func (x *index) join(s *summary) error { return x.joinAll([]*summary{s}) }

// joinAll is join of summaries in the order of their names.
func (x *index) joinAll(lone []*summary) (err error) {
	if len(lone) == 0 {
		return nil
	}
	it, err := x.summaries()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var unknown []*summary
	for _, s := range lone {
		end := indexKey(rangeSummary, s.name, ^uint64(0))
		if known := it.SeekLT(end) && bytes.Equal(it.Key()[:len(it.Key())-8], end[:len(end)-8]); known {
			s.follow(decodeSum(int32(tail(it.Key())), it.Value()))
		} else if s.older != nil && s.older.first != 0 {
			unknown = append(unknown, s)
		}
		if err := it.Error(); err != nil {
			return err
		}
	}
	if !x.rebuilding { // a rebuild keeps what it needs, see needs
		if err := x.joinRegistered(unknown); err != nil {
			return err
		}
	}
	for _, s := range lone {
		s.lone = false
	}
	return nil
}

// joinRegistered has summaries that begin with a heartbeat, and of which the disk has no sum, follow the first registrations of their
// instances. The registrations are read in their order, so that each block of entries is read once.
func (x *index) joinRegistered(unknown []*summary) (err error) {
	if len(unknown) == 0 {
		return nil
	}
	type first struct {
		of *summary
		at eventstore.Position
	}
	firsts := make([]first, 0, len(unknown))
	for _, s := range unknown {
		lives := x.livesOf(s.name, false)
		at, ok := lives.seek(1)
		if err := lives.close(); err != nil {
			return err
		}
		if ok {
			firsts = append(firsts, first{s, at})
		}
	}
	slices.SortFunc(firsts, func(a, b first) int { return cmp.Compare(a.at, b.at) })
	entries := x.entries()
	defer func() { err = errors.Join(err, entries.close()) }()
	for _, f := range firsts {
		found, err := entries.get(f.at)
		if err != nil {
			return err
		}
		e, err := parseEvent(found)
		if err != nil {
			return err
		}
		if e.Type == domain.TypeInstanceRegistered && e.Revision == 0 {
			f.of.follow(sum{hour: hourOf(e.RecordedAt), last: e.RecordedAt.UnixNano()})
		}
	}
	return nil
}

// summaries is an iterator over all summaries on disk.
func (x *index) summaries() (*pebble.Iterator, error) {
	return x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeSummary}, UpperBound: []byte{rangeSummary + 1}})
}

// follow has a lone summary follow the newest sum on disk.
func (s *summary) follow(before sum) {
	for oldest := range s.hours {
		if s.older != nil && s.older.first != 0 {
			oldest.longest = max(oldest.longest, s.older.first-before.last)
		}
		if before.hour == oldest.hour {
			oldest.received += before.received
			oldest.longest = max(oldest.longest, before.longest)
		}
		return
	}
}

// writeSummaries puts the changed summaries into the batch. It keeps only their sums, as far as the number of the heartbeat stream is
// known, and nothing of instances that have ended, or that had no heartbeat for hours, so that memory depends on the live instances
// only. REQUIRES: mu is held.
func (h *History) writeSummaries(b batch) error {
	h.order = byName(h.order, h.changed, func(s *summary) string { return s.name }) // the engine takes keys in order several times as fast as others
	var lone []*summary
	for _, s := range h.changed {
		if s.lone && s.dirty {
			lone = append(lone, s)
		}
	}
	if err := h.joinAll(lone); err != nil {
		return err
	}
	for i, s := range h.changed {
		if s.dirty {
			for sum := range s.hours {
				h.key = appendIndexKey(h.key[:0], rangeSummary, s.name, uint64(sum.hour))
				h.scratch = sum.encode(h.scratch[:0])
				_ = b.Set(h.key, h.scratch, nil)
			}
		}
		s.older, s.dirty, s.listed = nil, false, false
		switch {
		case h.seeded || h.needs(s):
		case s.gone:
			h.drop(s)
			if s.rested {
				h.resting.doubt(s)
			}
		case s.number > 0 && s.last != 0 && (!s.first || h.open.Len() > firstHours):
			h.drop(s)
			h.resting.put(s)
		}
		h.changed[i] = nil
	}
	if cap(h.changed) > 4096 && len(h.changed) < cap(h.changed)/16 {
		h.changed, h.order = nil, nil
	}
	h.changed, h.unflushed = h.changed[:0], 0
	if h.newest > h.swept && !h.seeded {
		h.sweep()
	}
	return nil
}

// sweep drops the summaries, all of them written, that no heartbeat may need soon.
func (h *History) sweep() {
	h.swept = h.newest
	var quiet []*summary // gathered first, because a removal moves others
	look := func(s *summary) bool {
		if (s.gone || s.hour < h.newest-2) && !h.needs(s) {
			quiet = append(quiet, s)
		}
		return true
	}
	h.open.All()(look)
	if h.names != nil {
		h.names.summaries()(look)
	}
	for _, s := range quiet {
		h.drop(s)
	}
	h.resting.drop(h.newest - 2)
}

// needs says whether a summary cannot be made from the disk: a rebuild reads no entry before all of them are there.
func (x *index) needs(s *summary) bool { return x.rebuilding && s.unheard }

// drop forgets a summary that is on disk. REQUIRES: mu is held.
func (x *index) drop(s *summary) {
	if of := x.subjectOf(s); of != nil {
		of.summary = nil
	} else {
		x.open.Remove(s)
	}
	if s.number > 0 {
		x.numbered.Set(s.number, nil)
	}
}
