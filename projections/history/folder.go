package history

import (
	"cmp"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/disposable"
	"github.com/rollcall-registry/rollcall/projections/sparse"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// formatVersion is the version of the folder's content. A folder of version 4 has a sum also of each instance that was never heard since it
// registered, and one of version 4 or 5 has steps in another form (traces.Writer). Both become folders of this version, which reads what they have.
// A folder of another version is made anew.
const (
	formatVersion  = 6
	readableFormat = 4
)

// index is an open folder with its state in memory.
type index struct {
	db *disposable.DB

	// INVARIANT: only the goroutine that applies events uses the fields down to numbered; tree has a lock of its own for
	// readers. Where the history is not running, its opener uses them.
	lifecycle  eventstore.Position // entries are written up to here
	summed     eventstore.Position // summaries of heartbeats are written up to here
	tree       tree
	indexed    int64         // newest time in the time index, Unix nanoseconds
	unflushed  int           // heartbeats since the summaries were written
	flushed    time.Time     // recorded time at which the summaries were written
	batch      batch         // what the engine gets with the young entries, but for them and their lists
	drafts     drafts        // buffer
	scratch    []byte        // buffer
	key        []byte        // buffer
	steps      traces.Writer // buffers of sealSteps
	rebuilding bool          // nobody reads, and what is in memory is written when it is much
	names      *directory    // in a rebuild; nil: the subjects of the open segment, the lists and the summaries are looked up apart
	growing    *growing      // in a rebuild
	spare      batch         // in a rebuild: the next batch, or the one that is being written
	writing    chan error    // in a rebuild: gets the outcome of the batch that is being written; nil: none is
	seeded     bool          // the summaries on disk are ahead of the events: see keepSummaries
	renewed    string        // the folder that was put aside for this one, and whose summaries are to be taken over; "": none

	young young // entries that the engine does not have yet

	segments segments

	kept kept

	numbered sparse.List[summary] // summaries in memory by heartbeat stream numbers; nil: look the summary up by name
	resting  resting

	mu      sync.Mutex                              // guards what follows, and the summaries
	open    sparse.Table[string, summary, *summary] // but for those that a subject has
	changed []*summary                              // that have to be written, or that end
	order   []headOf                                // memory of writeSummaries and seal
	made    slab[summary]
	newest  int32 // the newest hour of all summaries
	swept   int32 // the newest hour when all summaries were last looked through
}

// staleError is why a folder's content cannot be used.
type staleError string

func (e staleError) Error() string { return string(e) }

// blockCache is the size of the engine's cache in bytes. 16 MiB are for blocks.
const blockCache = disposable.Memtables + 16<<20

// mergeFrom has the engine merge its newest tables once the tables of four flushes overlap, which a page reads until then: the engine counts
// each twice. It has no filters, for nearly all looks are by the beginning of a key.
const mergeFrom = 8

// apart is from how many bytes on a value is kept apart from its key: blocks of entries and of leaves,
// steps, and long lists, of which none is ever replaced. Names of instances come in any order, so a merge writes their lists again and again, and
// with them all that stands between them in the tables.
const apart = 1 << 10

// apartFlush is how many bytes of memtables are enough for a file of such values.
const apartFlush = 4 << 20

// open opens the folder as it is.
func (p *place) open() (*index, error) {
	cache := pebble.NewCache(blockCache)
	defer cache.Unref()
	o := disposable.Options{Name: "history", Logger: p.logger, Apart: disposable.Apart{From: apart, Flush: cmp.Or(p.apartFlush, apartFlush)}, Engine: pebble.Options{
		Cache: cache, FormatMajorVersion: pebble.FormatNewest, L0CompactionThreshold: mergeFrom,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 }, ReadOnly: p.readOnly, ErrorIfNotExists: p.readOnly, FS: p.fs,
	}}
	for i := range o.Engine.Levels {
		o.Engine.Levels[i].BlockSize = 4 << 10
	}
	db, err := disposable.Open(p.dir, o)
	if err != nil {
		return nil, err
	}
	x := &index{db: db, batch: newMemtableBatch(db)}
	x.open.Marked = true
	if err := x.load(p); err != nil {
		db.Fail(err)
		return nil, errors.Join(err, db.Close())
	}
	return x, nil
}

func (x *index) load(p *place) error {
	identity := append([]byte{formatVersion}, p.store[:]...)
	was, err := x.db.Fetch(keyIdentity)
	switch {
	case err != nil:
		return err
	case was == nil && p.readOnly:
		return staleError("it is empty")
	case was == nil && !x.empty():
		return staleError("it does not say what it is of")
	case was != nil && string(was) == string(identity):
	case was != nil && (string(was[1:]) != string(p.store[:]) || was[0] < readableFormat || was[0] > formatVersion):
		return staleError("it is of another format or store")
	case !p.readOnly:
		b := x.db.NewBatch()
		defer b.Close()
		if err := errors.Join(b.Set(keyIdentity, identity, nil), x.db.Commit(b)); err != nil {
			return err
		}
	}
	state, err := x.db.Fetch(keyState)
	if err != nil {
		return err
	}
	size := int64(0)
	if state != nil {
		if len(state) != 32 {
			return staleError("its state is damaged")
		}
		x.lifecycle = eventstore.Position(binary.BigEndian.Uint64(state))
		x.summed = eventstore.Position(binary.BigEndian.Uint64(state[8:]))
		size = int64(binary.BigEndian.Uint64(state[16:]))
		x.indexed = int64(binary.BigEndian.Uint64(state[24:]))
	}
	x.young.written(x.lifecycle)
	if err := x.tree.load(x, size); err != nil {
		return err
	}
	x.segments.size = cmp.Or(p.segment, segmentEntries)
	return x.segments.load(x, size)
}

// empty says whether the folder has no entry.
func (x *index) empty() bool {
	it, err := x.db.NewIter(nil)
	if err != nil {
		return false
	}
	defer it.Close()
	return !it.First() && it.Error() == nil
}

// state is the state that a batch saves with its entries: the position up to which lifecycle events are applied, the
// position up to which heartbeats are, the size of the tree, and the newest time in the time index.
func (x *index) state(heartbeats eventstore.Position) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(x.lifecycle))
	b = binary.BigEndian.AppendUint64(b, uint64(heartbeats))
	b = binary.BigEndian.AppendUint64(b, uint64(x.tree.size))
	return binary.BigEndian.AppendUint64(b, uint64(x.indexed))
}
