package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// SnapshotVersion is the version of the form that Frozen.Encode writes.
const SnapshotVersion = 1

// ErrBadSnapshot says that a snapshot's entry is not what Encode wrote.
var ErrBadSnapshot = errors.New("catalog snapshot is damaged")

const flagUpdated = 1

// Frozen is a catalog's state at one position. Taking it copies pointers only, so that encoding it
// need not hold up the events.
type Frozen struct{ services []frozenService }

type frozenService struct {
	key     domain.ServiceKey
	last    eventstore.Position
	entries []*Entry
}

// Freeze takes the present state. Called from the goroutine that applies events, it is exactly the
// state after the last one.
func (c *Catalog) Freeze() Frozen {
	var f Frozen
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.RLock()
		for _, s := range shard.services {
			s.mu.RLock()
			f.services = append(f.services, frozenService{s.key, s.last, slices.Collect(maps.Values(s.byID))})
			s.mu.RUnlock()
		}
		shard.mu.RUnlock()
	}
	return f
}

// Encode yields the state's bytes, a service at a time. A chunk is valid until the next one.
func (f Frozen) Encode(yield func([]byte) bool) {
	var b []byte
	for _, s := range f.services {
		b = appendString(b[:0], s.key.Namespace)
		b = appendString(b, s.key.Service)
		b = binary.AppendUvarint(b, uint64(s.last))
		b = binary.AppendUvarint(b, uint64(len(s.entries)))
		for _, e := range s.entries {
			b = appendEntry(b, e)
		}
		if !yield(b) {
			return
		}
	}
}

func appendEntry(b []byte, e *Entry) []byte {
	var flags uint64
	if e.updated {
		flags |= flagUpdated
	}
	b = appendString(b, e.Key.ID)
	for _, n := range []uint64{
		flags, e.Epoch, e.Events, uint64(e.TTL), uint64(e.RegisteredAt.UnixNano()), uint64(e.ChangedAt.UnixNano()), uint64(e.Position),
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendString(b, string(e.Status))
	b = appendString(b, string(e.initial))
	b = appendString(b, string(e.Traffic))
	return appendString(b, string(e.source))
}

// Load is the catalog whose state Encode wrote. It shares no memory with the state.
func Load(b []byte) (*Catalog, error) { return load(snapshotReader{b: b}) }

// LoadShared is Load for a catalog that is looked at for a while and then dropped: its entries lie in
// the state's memory, which spares nearly all allocations and must not be changed.
func LoadShared(b []byte) (*Catalog, error) {
	return load(snapshotReader{b: b, text: unsafe.String(unsafe.SliceData(b), len(b))})
}

func load(r snapshotReader) (*Catalog, error) {
	c := New()
	for len(r.b) > 0 {
		s := &service{
			key:  domain.ServiceKey{Namespace: r.string(), Service: r.string()},
			last: eventstore.Position(r.number()),
		}
		n := r.number()
		if n > uint64(len(r.b)) { // an entry takes more than a byte
			return nil, ErrBadSnapshot
		}
		s.byID = make(map[string]*Entry, n)
		for ; n > 0 && !r.failed; n-- {
			e := r.entry(s.key)
			s.byID[e.Key.ID] = e
		}
		if r.failed || len(s.byID) == 0 {
			return nil, ErrBadSnapshot
		}
		c.shard(s.key).services[s.key] = s
		c.instances.Add(int64(len(s.byID)))
		c.changed.Store(max(c.changed.Load(), uint64(s.last)))
	}
	return c, nil
}

func (r *snapshotReader) entry(service domain.ServiceKey) *Entry {
	e := &Entry{Key: domain.Key{Namespace: service.Namespace, Service: service.Service, ID: r.string()}}
	e.updated = r.number()&flagUpdated != 0
	e.Epoch, e.Events, e.TTL = r.number(), r.number(), time.Duration(r.number())
	e.RegisteredAt, e.ChangedAt = time.Unix(0, int64(r.number())).UTC(), time.Unix(0, int64(r.number())).UTC()
	e.Position = eventstore.Position(r.number())
	e.Status, e.initial, e.Traffic = domain.Status(r.name()), domain.Status(r.name()), domain.Traffic(r.name())
	if e.source = r.bytes(); r.text == "" {
		e.source = bytes.Clone(e.source)
	}
	return e
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

type snapshotReader struct {
	b      []byte
	text   string // all of the state, when strings may lie in it
	failed bool
}

func (r *snapshotReader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *snapshotReader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *snapshotReader) string() string {
	b := r.bytes()
	if r.text == "" || r.failed {
		return string(b)
	}
	end := len(r.text) - len(r.b)
	return r.text[end-len(b) : end]
}

// name reads one of the few names of statuses and traffic states without an allocation.
func (r *snapshotReader) name() string {
	b := r.bytes()
	if s, ok := knownStatus(b); ok {
		return string(s)
	}
	if t, ok := knownTraffic(b); ok {
		return string(t)
	}
	return string(b)
}
