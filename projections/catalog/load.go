package catalog

import (
	"io"

	"github.com/rollcall-registry/rollcall/domain"
)

// Load is the catalog whose state Encode wrote.
func Load(state io.Reader) (*Catalog, error) { return load(&snapshotReader{source: state}) }

// LoadShared is Load for a catalog that is used for a short time. The texts of many entries share a piece of memory and are
// not packed, which spares nearly all allocations. An entry that is kept keeps its whole piece.
func LoadShared(state io.Reader) (*Catalog, error) {
	return load(&snapshotReader{source: state, shared: true})
}

// load decodes a state, while another goroutine puts what has been decoded into the index: each takes about half of the time.
func load(r *snapshotReader) (*Catalog, error) {
	c := New()
	entries := make(chan []decoded, 8) // closed when all has been decoded
	indexed := make(chan bool)         // gets one value: whether no key came twice
	go func() { indexed <- c.addDecoded(entries) }()
	err := c.decode(r, entries)
	close(entries)
	if distinct := <-indexed; err == nil && !distinct {
		err = ErrBadSnapshot
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// decoded is an entry that is not in the index yet.
type decoded struct {
	entry  *Entry
	listed int // index in the service's list
}

// decodedAtOnce is how many entries are given to the other goroutine at once.
const decodedAtOnce = 1024

// decode makes the services of a state.
func (c *Catalog) decode(r *snapshotReader, to chan<- []decoded) error {
	some := make([]decoded, 0, decodedAtOnce)
	for r.more() {
		s, entries := r.service()
		s.entries = make([]*Entry, 0, min(entries, 1<<16)) // a damaged number must not ask for all memory
		for ; entries > 0 && r.err == nil; entries-- {
			e := r.entry(s)
			if r.err != nil {
				break
			}
			some = append(some, decoded{e, len(s.entries)})
			s.entries = append(s.entries, e)
			if len(some) == decodedAtOnce {
				to <- some
				some = make([]decoded, 0, decodedAtOnce)
			}
		}
		if r.err != nil {
			break
		}
		services := c.shard(s.key).services
		if len(s.entries) == 0 || services[s.key] != nil {
			return ErrBadSnapshot
		}
		services[s.key] = s
		c.instances.Add(int64(len(s.entries)))
		c.changed.Store(max(c.changed.Load(), uint64(s.last)))
		c.described.Store(c.changed.Load())
	}
	to <- some
	return r.err
}

// addDecoded puts entries into the index until the channel is closed. distinct is false if a key came twice.
func (c *Catalog) addDecoded(from <-chan []decoded) (distinct bool) {
	distinct = true
	for some := range from {
		for ; len(some) > 0; some = some[min(prefetchBatch, len(some)):] {
			if !c.index.addAll(some[:min(prefetchBatch, len(some))]) {
				distinct = false
			}
		}
	}
	return distinct
}

// addAll puts a few entries into the index. It looks at the slots of all of them first, so that the processor waits for
// several at the same time. distinct is false if the index has the key of an entry, which is then left out. REQUIRES: at most
// prefetchBatch entries.
func (x *index) addAll(some []decoded) (distinct bool) {
	var l lookups
	var service uint64
	var of domain.ServiceKey
	for i := range some {
		e := some[i].entry
		if i == 0 || e.service.key != of {
			of = e.service.key
			service = x.hashService(of.Namespace, of.Service)
		}
		l.shards[i], l.hashes[i] = x.shardWithin(service, e.ID())
		if slots := *l.shards[i].slots.Load(); len(slots) > 0 {
			l.found[i] = slots[int(l.hashes[i])&(len(slots)-1)].load()
		}
	}
	distinct = true
	for i := range some {
		e := some[i].entry
		if at := l.shards[i].locate(e.Key(), l.hashes[i]); at.entry == nil {
			at.set(e, some[i].listed)
		} else {
			distinct = false
		}
	}
	return distinct
}
