package catalog

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// SnapshotVersion is the version of the format that Frozen.Encode writes.
const SnapshotVersion = 4

// ErrBadSnapshot refuses a snapshot that Encode did not write in this form.
var ErrBadSnapshot = errors.New("catalog snapshot is damaged")

const (
	flagUpdated     = 1
	flagMaintenance = 2
	ownedShift      = 2 // of the two bits that are the ownership
	ownedBits       = 3
	flagHealth      = 16
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

// Encode yields the state's bytes, a service at a time. A chunk is valid until the next one is asked for.
func (f Frozen) Encode(yield func([]byte) bool) {
	var b []byte
	for _, s := range f.services {
		b = packed.AppendBytes(b[:0], s.key.Namespace)
		b = packed.AppendBytes(b, s.key.Service)
		b = binary.AppendUvarint(b, uint64(s.last))
		b = binary.AppendUvarint(b, uint64(len(s.entries)))
		for i, e := range s.entries {
			if i%prefetchBatch == 0 {
				prefetchTexts(s.entries[i:min(i+prefetchBatch, len(s.entries))])
			}
			b = appendEntry(b, e)
		}
		if !yield(b) {
			return
		}
	}
}

// prefetchTexts reads the texts of a few entries, so that the processor waits for several at the same time.
func prefetchTexts(entries []*Entry) {
	var texts [prefetchBatch]string
	for i, e := range entries {
		texts[i] = e.packed()
	}
	for i := range entries {
		for at := 0; at < len(texts[i]); at += 64 { // a line of the processor's cache
			discard(texts[i][at])
		}
	}
}

func appendEntry(b []byte, e *Entry) []byte {
	var flags uint64
	if e.updated {
		flags |= flagUpdated
	}
	if e.Maintenance() != nil {
		flags |= flagMaintenance
	}
	if e.health() != nil {
		flags |= flagHealth
	}
	flags |= uint64(e.owned) << ownedShift
	b = packed.AppendBytes(b, e.ID())
	for _, n := range [...]uint64{
		flags, e.Epoch, e.Events, uint64(e.TTL), uint64(e.registered), uint64(e.changed), uint64(e.Position), uint64(e.Began),
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = packed.AppendBytes(b, e.Status())
	b = packed.AppendBytes(b, e.Traffic())
	if m := e.Maintenance(); m != nil {
		b = packed.AppendBytes(b, m.By)
		b = packed.AppendBytes(b, m.At.Format(time.RFC3339Nano))
		b = packed.AppendBytes(b, m.Reason)
	}
	if h := e.health(); h != nil {
		b = appendHealth(b, h)
	}
	packed := e.packed()
	return appendUnpacked(binary.AppendUvarint(b, uint64(unpackedLength(packed))), packed)
}

const snapshotBlock = 256 << 10 // bytes that are read at once

// snapshotReader decodes a state while it reads it, so that the state is never in memory as a whole.
//
// INVARIANT: where shared is true, entries point into texts, whose bytes then never change. Otherwise an entry has memory of
// its own.
type snapshotReader struct {
	packed.Reader // of the part of block that is not decoded yet; it fails where a value goes on behind the end of block
	source        io.Reader
	shared        bool   // see above
	block         []byte // bytes of the state
	texts         []byte // see share
	ended         bool   // source has no more bytes
	err           error
}

// more says whether the state has more services.
func (r *snapshotReader) more() bool {
	if len(r.B) == 0 {
		r.fill()
	}
	return r.err == nil && len(r.B) > 0
}

// fill moves the bytes that are not decoded yet to the beginning of a block, and reads more behind them.
func (r *snapshotReader) fill() {
	if r.ended || r.err != nil {
		return
	}
	size := max(snapshotBlock, 2*len(r.B))
	block := r.block
	if cap(block) < size {
		block = make([]byte, size)
	}
	n := copy(block, r.B)
	read, err := io.ReadFull(r.source, block[n:])
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		r.ended = true
	default:
		r.err = err
	}
	r.block, r.B = block, block[:n+read]
}

// whole calls take, which decodes a value. It reads more and calls take again as long as the value is not read to its end.
func (r *snapshotReader) whole(take func()) {
	for r.err == nil {
		begin := r.B
		r.Failed = false
		if len(begin) > 0 {
			if take(); !r.Failed {
				return
			}
		}
		r.B = begin
		if r.ended {
			r.err = ErrBadSnapshot
			return
		}
		r.fill()
	}
}

func (r *snapshotReader) service() (s *service, entries uint64) {
	s = new(service)
	r.whole(func() {
		s.key = domain.ServiceKey{Namespace: string(r.Bytes()), Service: string(r.Bytes())}
		s.last, entries = eventstore.Position(r.Uvarint()), r.Uvarint()
	})
	return s, entries
}

func (r *snapshotReader) entry(s *service) *Entry {
	e := &Entry{facts: facts{service: s}}
	r.whole(func() {
		id := r.Bytes()
		flags := r.Uvarint()
		e.updated = flags&flagUpdated != 0
		e.owned = ownership(flags >> ownedShift & ownedBits)
		e.Epoch, e.Events, e.TTL = r.Uvarint(), r.Uvarint(), time.Duration(r.Uvarint())
		e.registered, e.changed = int64(r.Uvarint()), int64(r.Uvarint())
		e.Position, e.Began = eventstore.Position(r.Uvarint()), eventstore.Position(r.Uvarint())
		status, traffic := r.Bytes(), r.Bytes()
		var maintenance *domain.InMaintenance
		var checked *health
		if flags&flagMaintenance != 0 {
			maintenance = r.maintenance()
		}
		if flags&flagHealth != 0 {
			checked = r.health()
		}
		source := r.Bytes()
		if r.Failed {
			return
		}
		var ok1, ok2 bool
		e.status, ok1 = statusCode(status)
		if e.traffic, ok2 = trafficCode(traffic); !ok1 || !ok2 || e.owned > otherOwner || flags > flagHealth<<1-1 {
			r.err = ErrBadSnapshot
			return
		}
		e.setRare(maintenance, checked)
		if r.shared {
			e.setText(r.share(id, source), len(id))
			return
		}
		keep(e, id, source)
	})
	return e
}

// share makes the text of an entry in texts. The source is not packed, because that would take longer than copying it.
func (r *snapshotReader) share(id, source []byte) []byte {
	size := len(id) + 1 + len(source)
	if cap(r.texts)-len(r.texts) < size {
		r.texts = make([]byte, 0, max(snapshotBlock, size))
	}
	from := len(r.texts)
	r.texts = append(append(append(r.texts, id...), verbatim), source...)
	return r.texts[from:]
}

func (r *snapshotReader) maintenance() *domain.InMaintenance {
	by, at, reason := string(r.Bytes()), string(r.Bytes()), string(r.Bytes())
	recorded, err := time.Parse(time.RFC3339Nano, at)
	if err != nil && !r.Failed {
		r.err = ErrBadSnapshot
	}
	return &domain.InMaintenance{By: by, At: recorded, Reason: reason}
}
