package catalog

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// SnapshotVersion is the version of the format that Frozen.Encode writes.
const SnapshotVersion = 5

// ErrBadSnapshot refuses a snapshot that Encode did not write in this form.
var ErrBadSnapshot = errors.New("catalog snapshot is damaged")

// A state begins with the number of instances and phrasesSum. Then come frames, each with some instances of one service. A frame
// has the length of its rows, the length of its texts, the rows and the texts. The rows begin with the service, the position of its
// newest change and the number of instances. Each instance has a row, and its text is behind that of the instance before: the id and the
// packed source, as they are in memory. A start copies them as they are (ADR 113).
const (
	frameEntries = 1024
	frameTexts   = 256 << 10 // bytes of texts after which a frame ends
)

// phrasesSum tells the phrases of packed texts from others. A state with other phrases cannot be read.
var phrasesSum = xxhash.Sum64String(allPhrases)

// A row begins with a number that has these flags, the status and the traffic.
const (
	flagUpdated     = 1
	flagMaintenance = 2
	ownedShift      = 2 // of the two bits that are the ownership
	flagHealth      = 16
	statusBits      = 5 // how far the status is shifted
	trafficShift    = 7
	twoBits         = 3
)

// Frozen is a catalog's state at one position. It has pointers to the entries, which are immutable, so the state can be
// encoded while further events are applied.
type Frozen struct{ services []frozenService }

type frozenService struct {
	key     domain.ServiceKey
	last    eventstore.Position
	entries []*Entry
}

// Freeze gives the present state. REQUIRES: the goroutine that applies events calls it, so that the state is the one
// after the last event.
func (c *Catalog) Freeze() Frozen {
	var f Frozen
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.RLock()
		for _, s := range shard.services {
			s.mu.Lock()
			f.services = append(f.services, frozenService{s.key, s.last, slices.Clone(s.entries)})
			s.mu.Unlock()
		}
		shard.mu.RUnlock()
	}
	return f
}

// Encode yields the state's bytes. A chunk is valid until the next one is asked for.
func (f Frozen) Encode(yield func([]byte) bool) {
	instances := 0
	for _, s := range f.services {
		instances += len(s.entries)
	}
	if !yield(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(instances)), phrasesSum)) {
		return
	}
	var w frameWriter
	for _, s := range f.services {
		for rest := s.entries; len(rest) > 0; {
			n := w.frame(s, rest)
			if rest = rest[n:]; !yield(w.lengths) || !yield(w.rows) || !yield(w.texts) {
				return
			}
		}
	}
}

// frameWriter makes frames. Its buffers are used again.
type frameWriter struct{ lengths, rows, texts []byte }

// frame makes a frame of the first of some entries of a service, and says of how many.
func (w *frameWriter) frame(s frozenService, entries []*Entry) (n int) {
	w.texts = w.texts[:0]
	for n < len(entries) && n < frameEntries && len(w.texts) < frameTexts {
		some := entries[n:min(n+prefetchBatch, len(entries), frameEntries)]
		prefetchTexts(some)
		for _, e := range some {
			w.texts = append(w.texts, e.whole()...)
		}
		n += len(some)
	}
	w.rows = packed.AppendBytes(w.rows[:0], s.key.Namespace)
	w.rows = packed.AppendBytes(w.rows, s.key.Service)
	w.rows = binary.AppendUvarint(w.rows, uint64(s.last))
	w.rows = binary.AppendUvarint(w.rows, uint64(n))
	before := new(Entry)
	for _, e := range entries[:n] {
		w.rows = appendRow(w.rows, e, before)
		before = e
	}
	w.lengths = binary.BigEndian.AppendUint32(w.lengths[:0], uint32(len(w.rows)))
	w.lengths = binary.BigEndian.AppendUint32(w.lengths, uint32(len(w.texts)))
	return n
}

// prefetchTexts reads the texts of a few entries, so that the processor waits for several at the same time.
func prefetchTexts(entries []*Entry) {
	var texts [prefetchBatch]string
	for i, e := range entries {
		texts[i] = e.whole()
	}
	for i := range entries {
		for at := 0; at < len(texts[i]); at += 64 { // a line of the processor's cache
			discard(texts[i][at])
		}
	}
}

// appendRow appends what an entry has besides its text. Many numbers are written as their difference to those of the entry before, since
// instances of a service are much alike.
func appendRow(b []byte, e, before *Entry) []byte {
	flags := uint64(e.marks.owned())<<ownedShift | uint64(e.status)<<statusBits | uint64(e.marks.traffic())<<trafficShift
	if e.marks&updated != 0 {
		flags |= flagUpdated
	}
	if e.Maintenance() != nil {
		flags |= flagMaintenance
	}
	if e.health() != nil {
		flags |= flagHealth
	}
	began := e.beginning()
	for _, n := range [...]uint64{flags, e.Epoch(), e.Events(), uint64(e.idLength), uint64(e.packedLength)} {
		b = binary.AppendUvarint(b, n)
	}
	for _, n := range [...]int64{
		int64(e.TTL() - before.TTL()), int64(e.Position - before.Position), int64(e.Position - began.at), e.changed - before.changed, e.changed - began.recorded,
	} {
		b = binary.AppendVarint(b, n)
	}
	if m := e.Maintenance(); m != nil {
		b = packed.AppendBytes(b, m.By)
		b = packed.AppendBytes(b, m.At.Format(time.RFC3339Nano))
		b = packed.AppendBytes(b, m.Reason)
	}
	if h := e.health(); h != nil {
		b = appendHealth(b, h)
	}
	return b
}

// snapshotReader reads the rows of a frame.
type snapshotReader struct {
	packed.Reader
	rares rares
}

// row reads what an entry has besides its text. The entry has a service already.
func (r *snapshotReader) row(e, before *Entry) {
	flags := r.Uvarint()
	n := numbers{epoch: r.Uvarint(), events: r.Uvarint()}
	id, packed := r.Uvarint(), r.Uvarint()
	n.ttl = before.TTL() + time.Duration(r.Varint())
	e.Position = before.Position + eventstore.Position(r.Varint())
	began := beginning{at: e.Position - eventstore.Position(r.Varint())}
	e.changed = before.changed + r.Varint()
	began.recorded = e.changed - r.Varint()
	e.idLength, e.packedLength = uint16(id), uint32(packed)
	status, traffic, owned := flags>>statusBits&twoBits, flags>>trafficShift, ownership(flags>>ownedShift&twoBits)
	if id != uint64(e.idLength) || packed != uint64(e.packedLength) || traffic >= uint64(len(traffics)) || owned > otherOwner {
		r.Fail()
		return
	}
	e.status = code(status)
	e.marks.setTraffic(code(traffic))
	e.marks.setOwned(owned)
	if flags&flagUpdated != 0 {
		e.marks |= updated
	}
	var decision *domain.InMaintenance
	var checked *health
	if flags&flagMaintenance != 0 {
		decision = r.maintenance()
	}
	if flags&flagHealth != 0 {
		checked = r.health()
	}
	e.setRareIn(&r.rares, n, began, decision, checked)
	r.rares.left--
}

func (r *snapshotReader) maintenance() *domain.InMaintenance {
	by, at, reason := string(r.Bytes()), string(r.Bytes()), string(r.Bytes())
	recorded, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		r.Fail()
	}
	return &domain.InMaintenance{By: by, At: recorded, Reason: reason}
}
