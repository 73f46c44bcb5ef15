package pebblestore

import (
	"math"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// quiet has the heads of heartbeat streams without an append for some seconds, in 16 bytes each (ADR 107). An instance that
// heartbeats every half a minute, or every quarter of an hour, so needs no read of the disk for its next heartbeat.
//
// INVARIANT: a heartbeat stream has a head in the table, or one here, or none. The head here is as new as the stream. A head in
// the queue of unsaved is newer than the disk, and stays here or in the table until it is written.
type quiet struct {
	pages sparse.List[quietPage] // by number/quietPerPage
	count int                    // of pages
}

const (
	quietPerPage = 31
	// keepQuiet is for how many cycles a page is kept after the newest of its heads has come to it: about a quarter of an hour.
	// Streams of instances that have ended take memory for that time.
	keepQuiet = 240
	// maxQuietPages bounds the memory to 64 MiB, in which there are heads of four million streams. With more pages none is kept
	// longer than it must be.
	maxQuietPages = 1 << 17
)

// quietPage is 512 bytes, into which the collector does not look.
type quietPage struct {
	used  uint32 // cycle in which a head came to the page last
	heads [quietPerPage]quietHead
}

// quietHead says what a head says. The zero value is none.
type quietHead struct {
	last   uint64 // twice the position of the newest event, and 1 more if the head is in the queue of unsaved
	events uint32
	hash   uint32 // of the stream, see heads.shard; 0: not known
}

// mayBeQuiet says whether the head can be kept as a quietHead.
func (h *head) mayBeQuiet() bool {
	return h.number != 0 && h.last != 0 && h.last <= math.MaxUint64/2 && h.events <= math.MaxUint32
}

func (q *quiet) at(number uint32) *quietHead {
	p := q.pages.At(number / quietPerPage)
	if p == nil {
		return nil
	}
	return &p.heads[number%quietPerPage]
}

// put keeps what a head says. REQUIRES: the head may be quiet.
func (q *quiet) put(h *head, cycle uint32) {
	p := q.pages.At(h.number / quietPerPage)
	if p == nil {
		p = new(quietPage)
		q.pages.Set(h.number/quietPerPage, p)
		q.count++
	}
	p.used = cycle
	kept := quietHead{last: 2 * uint64(h.last), events: uint32(h.events), hash: h.hash}
	if h.queued {
		kept.last++
	}
	p.heads[h.number%quietPerPage] = kept
}

// take fills a head of the same number, and keeps it no longer. false: there is none.
func (q *quiet) take(h *head) bool {
	kept := q.at(h.number)
	if kept == nil || kept.last == 0 {
		return false
	}
	h.events, h.last, h.queued = uint64(kept.events), kept.position(), kept.queued()
	h.readable.Store(uint64(h.last))
	*kept = quietHead{}
	return true
}

func (h quietHead) position() eventstore.Position { return eventstore.Position(h.last / 2) }
func (h quietHead) queued() bool                  { return h.last&1 != 0 }

// thin drops the pages of which no head was used lately and all are on disk. It looks at one of some parts of all pages up to a
// number.
func (q *quiet) thin(part, parts int, upTo, cycle uint32) {
	keep := uint32(keepQuiet)
	if q.count > maxQuietPages {
		keep = 0
	}
	pages := int(upTo/quietPerPage) + 1
	for i := pages * part / parts; i < pages*(part+1)/parts; i++ {
		if p := q.pages.At(uint32(i)); p != nil && cycle-p.used >= keep && !p.queued() {
			q.pages.Set(uint32(i), nil)
			q.count--
		}
	}
}

// queued says whether a head of the page is in the queue of unsaved.
func (p *quietPage) queued() bool {
	for i := range p.heads {
		if p.heads[i].queued() {
			return true
		}
	}
	return false
}
