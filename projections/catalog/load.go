package catalog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Load is the catalog whose state Encode wrote.
func Load(state io.Reader) (*Catalog, error) { return load(state, keptTogether) }

// LoadShared is Load for a catalog that is used for a short time. All entries of a frame share their memory, which spares nearly all
// allocations. An entry that is kept keeps the memory of its whole frame.
func LoadShared(state io.Reader) (*Catalog, error) { return load(state, frameEntries) }

// SavedAt says where the state of a catalog that was loaded had been saved. Services that had become empty by then are not in the state,
// so that it does not tell the position of the newest change. Changed, Described and EndedIn are that of the state then: they must not fall.
//
// REQUIRES: nothing was applied since the catalog was loaded.
func (c *Catalog) SavedAt(at eventstore.Position) {
	c.changed.Store(max(c.changed.Load(), uint64(at)))
	c.described.Store(max(c.described.Load(), uint64(at)))
	c.ends.notAfter(at)
}

// keptTogether is how many entries share their memory, which is given back once all of them have been replaced. So a catalog of which
// most, but not all, has been replaced takes at most the memory of the snapshot more than it needs. Instances that are beside each
// other, of one service, often go together. 31 entries, and the 8 bytes that the runtime puts before them, fill 2 KiB, which is a size of which
// the runtime has pieces, so that an entry costs little more than its share.
const keptTogether = 31

// loader reads a state. One goroutine reads frames, while others decode them and put their entries into the index.
type loader struct {
	catalog  *Catalog
	together int         // how many entries share their memory
	bad      atomic.Bool // a frame is damaged
	frames   chan *frame // closed when all have been read
	spare    chan []byte // buffers of frames that have been decoded; a buffer that does not fit in is dropped
}

// frame is a part of a state, see frameEntries.
type frame struct {
	service     *service
	from, count int    // the indexes of its entries in the list of the service
	bytes       []byte // the memory of what follows
	rows        snapshotReader
	texts       []byte
	entries     []*Entry // once it is decoded
}

func load(state io.Reader, together int) (*Catalog, error) {
	workers := runtime.GOMAXPROCS(0)
	l := &loader{catalog: New(), together: together, frames: make(chan *frame, workers), spare: make(chan []byte, 3*workers)}
	var decoding sync.WaitGroup
	for range workers {
		decoding.Go(func() {
			for f := range l.frames {
				if !l.bad.Load() && !l.decode(f) {
					l.bad.Store(true)
				}
				f.rows.B, f.texts = nil, nil
				select {
				case l.spare <- f.bytes:
				default:
				}
			}
		})
	}
	frames, err := l.read(bufio.NewReaderSize(state, 256<<10))
	close(l.frames)
	decoding.Wait()
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF || l.bad.Load() && err == nil:
		return nil, ErrBadSnapshot
	case err != nil:
		return nil, err
	}
	l.list(frames)
	return l.catalog, nil
}

// mostReserved bounds what a damaged number of instances can ask for. The index of a larger catalog grows as it is filled.
const mostReserved = 1 << 20

// read gives all frames to the goroutines that decode them.
func (l *loader) read(state *bufio.Reader) (frames []*frame, err error) {
	var head [16]byte
	if _, err := io.ReadFull(state, head[:]); err != nil {
		return nil, err
	}
	instances := binary.BigEndian.Uint64(head[:])
	if binary.BigEndian.Uint64(head[8:]) != phrasesSum {
		return nil, ErrBadSnapshot
	}
	l.catalog.index.reserve(int(min(instances, mostReserved)))
	var newest *frame
	for ; instances > 0 && !l.bad.Load(); instances -= uint64(newest.count) {
		f, err := l.next(state, newest)
		if err != nil {
			return nil, err
		}
		if f.count == 0 || uint64(f.count) > instances {
			return nil, ErrBadSnapshot
		}
		l.frames <- f
		frames = append(frames, f)
		newest = f
	}
	if _, err := state.ReadByte(); err == nil {
		return nil, ErrBadSnapshot // there is more than the number of instances says
	} else if err != io.EOF {
		return nil, err
	}
	return frames, nil
}

// next reads a frame. before is the frame before it; nil: it is the first one.
func (l *loader) next(state *bufio.Reader, before *frame) (*frame, error) {
	var lengths [8]byte
	if _, err := io.ReadFull(state, lengths[:]); err != nil {
		return nil, err
	}
	rows, texts := int(binary.BigEndian.Uint32(lengths[:])), int(binary.BigEndian.Uint32(lengths[4:]))
	f := new(frame)
	var err error
	if f.bytes, err = l.bytes(state, rows+texts); err != nil {
		return nil, err
	}
	f.rows.B, f.texts = f.bytes[:rows], f.bytes[rows:]
	namespace, name := f.rows.Bytes(), f.rows.Bytes()
	last, count := eventstore.Position(f.rows.Uvarint()), f.rows.Uvarint()
	if f.rows.Failed || count > frameEntries {
		return nil, ErrBadSnapshot
	}
	f.count = int(count)
	if before != nil && before.service.key.Namespace == string(namespace) && before.service.key.Service == string(name) {
		f.service, f.from = before.service, before.from+before.count
		return f, nil
	}
	f.service = &service{key: domain.ServiceKey{Namespace: string(namespace), Service: string(name)}, last: last}
	services := l.catalog.shard(f.service.key).services
	if services[f.service.key] != nil {
		return nil, ErrBadSnapshot
	}
	services[f.service.key] = f.service
	return f, nil
}

// bytes reads so many bytes, into a spare buffer if there is one. A damaged number must not ask for all memory, so a large buffer
// grows as it is filled.
func (l *loader) bytes(state io.Reader, n int) (b []byte, err error) {
	select {
	case b = <-l.spare:
	default:
	}
	for b = b[:0]; len(b) < n; {
		part := min(n-len(b), max(4*frameTexts, len(b)))
		b = slices.Grow(b, part)
		read, err := io.ReadFull(state, b[len(b):len(b)+part])
		if b = b[:len(b)+read]; err != nil {
			return nil, err
		}
	}
	return b, nil
}

// decode makes the entries of a frame, and puts them into the index. false: the frame is damaged, or has an instance that was there.
func (l *loader) decode(f *frame) bool {
	f.entries = make([]*Entry, 0, f.count)
	before, texts := new(Entry), f.texts
	f.rows.rares.left = f.count
	for len(f.entries) < f.count {
		group := make([]Entry, min(l.together, f.count-len(f.entries)))
		size := 0
		for i := range group {
			e := &group[i]
			e.service = f.service
			f.rows.row(e, before)
			before = e
			if size += int(e.idLength) + int(e.packedLength); size > len(texts) {
				return false
			}
			f.entries = append(f.entries, e)
		}
		if f.rows.Failed {
			return false
		}
		memory := bytes.Clone(texts[:size])
		texts = texts[size:]
		plain := bytes.IndexByte(memory, more) < 0
		for i := range group {
			e := &group[i]
			n := uint32(e.idLength) + e.packedLength
			e.setText(memory[:n:n], int(e.idLength))
			if memory = memory[n:]; !plain && !wellPacked(e.packed()) {
				return false
			}
		}
		for from := 0; from < len(group); from += prefetchBatch {
			some := group[from:min(from+prefetchBatch, len(group))]
			if !l.catalog.index.addAll(some, f.from+len(f.entries)-len(group)+from) {
				return false
			}
		}
	}
	return len(texts) == 0 && len(f.rows.B) == 0
}

// list gives the services the lists of their entries.
func (l *loader) list(frames []*frame) {
	c := l.catalog
	for len(frames) > 0 {
		s, n := frames[0].service, 1
		for n < len(frames) && frames[n].service == s {
			n++
		}
		s.entries = frames[0].entries
		if n > 1 {
			s.entries = make([]*Entry, 0, frames[n-1].from+frames[n-1].count)
			for _, f := range frames[:n] {
				s.entries = append(s.entries, f.entries...)
			}
		}
		frames = frames[n:]
		c.instances.Add(int64(len(s.entries)))
		c.changed.Store(max(c.changed.Load(), uint64(s.last)))
	}
	c.described.Store(c.changed.Load())
}

// addAll puts a few entries of one service, which are beside each other in its list from an index on, into the index. It looks at the
// slots of all of them first, so that the processor waits for several at the same time. distinct is false if the index has the key of an
// entry, which is then left out. Several goroutines may call addAll at once. REQUIRES: at most prefetchBatch entries.
func (x *index) addAll(some []Entry, listed int) (distinct bool) {
	var l lookups
	of := some[0].service.key
	service := x.hashService(of.Namespace, of.Service)
	for i := range some {
		l.shards[i], l.hashes[i] = x.shardWithin(service, some[i].ID())
		if slots := *l.shards[i].slots.Load(); len(slots) > 0 {
			l.found[i] = slots[home(l.hashes[i], len(slots))].load()
		}
	}
	distinct = true
	for i := range some {
		e, shard := &some[i], l.shards[i]
		shard.loading.Lock()
		if at := shard.locate(e.Key(), l.hashes[i]); at.entry == nil {
			at.set(e, listed+i)
		} else {
			distinct = false
		}
		shard.loading.Unlock()
	}
	return distinct
}
