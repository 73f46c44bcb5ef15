package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// ReadList shows tests what an index holds.
func ReadList(key, value []byte) ([]eventstore.Position, error) {
	return readList(key[0], eventstore.Position(tail(key)), value, nil)
}

// ReadBlock shows tests the entries of a block: the number of the leaf and the canonical event, by position.
func ReadBlock(key, value []byte) (map[eventstore.Position]string, error) {
	b, err := unpack(eventstore.Position(tail(key)), value)
	if err != nil {
		return nil, err
	}
	all := make(map[eventstore.Position]string)
	for i := range b.positions {
		s := b.at(i)
		all[s.position] = fmt.Sprintf("%d %s", s.leaf, s.canonical)
	}
	return all, nil
}

// ReadSections reads a value of a segment in each way in which it may be read.
func ReadSections(value []byte, last uint64) {
	var steps traces.Reader
	steps.Open(value, 0)
	for steps.Instance() {
		for step := (traces.Step{}); steps.Next(&step); {
			_ = steps.Name()
		}
	}
	for r := (packed.Reader{B: value}); len(r.B) > 0; {
		section := r.Bytes()
		if r.Failed {
			return
		}
		if c, err := readCounts(section); err == nil {
			_ = c.eachPlace(eventstore.Position(last), func(eventstore.Position, int) bool { return true })
		}
	}
}

// BenchmarkTree gives a function that adds a leaf, and commits now and then.
func (h *History) BenchmarkTree() func(canonical []byte) error {
	b := newMemtableBatch(h.db)
	return func(canonical []byte) error {
		if err := h.tree.add(b, []draft{{hash: tlog.RecordHash(canonical)}}); err != nil {
			return err
		}
		if h.tree.size%1000 != 0 {
			return nil
		}
		err := b.Commit(pebble.NoSync)
		b.Reset()
		h.tree.committed()
		return err
	}
}

// RebuildSegmented is Rebuild of a folder that OpenSegmented opened. It packs a few drafts already, and writes after a few events.
func RebuildSegmented(ctx context.Context, dir string, store eventstore.Store, id uuid.UUID, entries int64) error {
	p := place{dir: dir, store: id, logger: slog.New(slog.DiscardHandler), segment: entries, packFrom: 3, flushRebuilt: 2500, flushHeartbeats: 5}
	return p.rebuild(ctx, store, func(eventstore.Position, eventstore.Position) {})
}

// OpenOn opens a history on a file system.
func OpenOn(fs vfs.FS, dir string, store uuid.UUID, logger *slog.Logger) (*History, error) {
	return openIn(place{dir: dir, store: store, logger: logger, fs: fs, segment: 24, apartFlush: 1})
}

// FlushSummaries is how many summaries are in memory before they are written.
const FlushSummaries = flushSummaries

// InMemory is of how many instances a history has summaries in memory, or sums.
func (h *History) InMemory() int {
	return h.Summaries() + h.AtRest()
}

// Unwritten is of how many instances a history has summaries that it has yet to write.
func (h *History) Unwritten() int {
	h.applying.Lock()
	defer h.applying.Unlock()
	return len(h.changed)
}

// AtRest is of how many instances a history has only sums in memory.
func (h *History) AtRest() (n int) {
	for page := range h.resting.size {
		if p := h.resting.pages.At(uint32(page)); p != nil {
			for i := range p {
				if p[i].last != 0 {
					n++
				}
			}
		}
	}
	return n
}

// Summaries is how many summaries a history has in memory.
func (h *History) Summaries() int {
	held := map[*summary]bool{}
	for s := range h.open.All() {
		held[s] = true
	}
	for n := range uint32(1 << 16) {
		held[h.numbered.At(n)] = true
	}
	delete(held, nil)
	return len(held)
}

// SummarySize is how many bytes the summary of an instance takes.
const SummarySize = unsafe.Sizeof(summary{})

// FillMemtables writes so much that the engine's memtables have their full size, and waits until what was written before is on disk.
func (h *History) FillMemtables() error {
	for range 8 {
		b := h.db.NewBatch()
		err := errors.Join(b.Set([]byte("z"), make([]byte, 12<<20), nil), h.db.Commit(b), b.Close())
		if err != nil {
			return err
		}
	}
	return h.db.DB.Flush()
}

// CachedBytes is how many bytes of blocks the engine has in its cache.
func (h *History) CachedBytes() int64 { return h.db.Metrics().BlockCache.Size }

// KeptBlocks is how many blocks are kept.
const KeptBlocks = keptBlocks

// Kept shows tests which blocks are kept.
type Kept struct{ kept }

// NewKept makes one without blocks.
func NewKept() *Kept { return new(Kept) }

// Keep keeps a block of two positions.
func (k *Kept) Keep(first, last uint64) {
	k.keep(&block{positions: []eventstore.Position{eventstore.Position(first), eventstore.Position(last)}})
}

// Holding is the block around a position.
func (k *Kept) Holding(p uint64) (first, last uint64, ok bool) {
	b := k.holding(eventstore.Position(p))
	if b == nil {
		return 0, 0, false
	}
	return uint64(b.first()), uint64(b.last()), true
}

// Len is how many blocks are kept.
func (k *Kept) Len() int { return len(k.list) }

// Actors reads the actor of metadata in each way in which it may be read, after other metadata.
func Actors(before, metadata []byte) (plain, decoded string, isPlain bool) {
	var m plainMetadata
	m.read(before)
	isPlain = m.read(metadata)
	decoded, _ = actorOf(metadata)
	return m.actor, decoded, isPlain
}

// InOrder puts names in order.
func InOrder(names []string) { byName(nil, names, func(name string) string { return name }) }

// SetFormat has the folder say that it is of a version.
func (h *History) SetFormat(version byte) error {
	identity, err := h.db.Fetch(keyIdentity)
	if err != nil {
		return err
	}
	identity[0] = version
	b := h.db.NewBatch()
	return errors.Join(b.Set(keyIdentity, identity, nil), h.db.Commit(b), b.Close())
}

// WriteSum writes the sum of an instance that registered, as folders of version 4 have it.
func (h *History) WriteSum(name string, registered time.Time) error {
	of := sum{hour: hourOf(registered), last: registered.UnixNano()}
	b := h.db.NewBatch()
	return errors.Join(b.Set(indexKey(rangeSummary, name, uint64(of.hour)), of.encode(nil), nil), h.db.Commit(b), b.Close())
}

// Sums is how many sums of heartbeats are on disk.
func (h *History) Sums() (n int, err error) {
	it, err := h.summaries()
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}

// Steps are the values with the steps of a segment, by the last name of each.
func (h *History) Steps(number int64) (all map[string][]byte, err error) {
	s, err := h.newSealed(rangeSteps)
	if err != nil {
		return nil, err
	}
	all = map[string][]byte{}
	err = s.values(number, "", func(v []byte) (bool, error) {
		all[string(s.it.Key()[9:])] = slices.Clone(v)
		return true, nil
	})
	return all, errors.Join(err, s.close())
}

// SetSteps replaces the value with the steps of a segment up to a name.
func (h *History) SetSteps(number int64, last string, value []byte) error {
	b := h.db.NewBatch()
	return errors.Join(b.Set(segmentKey(rangeSteps, number, last), value, nil), h.db.Commit(b), b.Close())
}

// GatherFor is how long events gather.
const GatherFor = gatherFor

// Gathering is a gathering.
type Gathering struct{ *gathering }

// NewGathering makes one.
func NewGathering() Gathering {
	g := newGathering()
	return Gathering{&g}
}

// Wait is wait.
func (g Gathering) Wait(ctx context.Context, applied []eventstore.RecordedEvent) {
	g.wait(ctx, applied)
}

// Hurry is hurry.
func (g Gathering) Hurry() (done func()) { return g.hurry() }
