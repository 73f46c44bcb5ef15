package raftstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// The keys of the log's folder.
//
//	e/<index>   an entry: its term, its type, its data
//	m/<name>    facts about the log
const rangeEntries = 'e'

var (
	keyIdentity = []byte("m/identity") // JSON of identity
	keyState    = []byte("m/state")    // raftpb.HardState
	keyCut      = []byte("m/cut")      // index and term of the entry before the first one
)

// identity is who the node is. Its id is random and made with the log, so a node whose log is lost has another id: it cannot
// vote a second time in the name of the first one.
type identity struct {
	ID          uint64            `json:"id"`
	Name        string            `json:"name"`
	Cluster     uuid.UUID         `json:"cluster"`           // zero: the node belongs to no cluster yet
	Incarnation uint64            `json:"incarnation"`       // number of starts
	Founding    bool              `json:"founding"`          // the node has begun to found a cluster
	Installing  bool              `json:"installing"`        // a checkpoint takes the place of the store
	Members     map[string]string `json:"members,omitempty"` // names and addresses, for a node whose store is lost
	Removed     bool              `json:"removed,omitempty"` // the cluster has removed the node
}

// diskLog is the log of one node in a Pebble folder, and raft's Storage.
//
// INVARIANT: one goroutine writes (the appender, or the opening goroutine before it starts). Any goroutine reads.
type diskLog struct {
	db   *pebble.DB
	lock *pebble.Lock

	mu       sync.Mutex
	identity identity
	state    *raftpb.HardState
	conf     *raftpb.ConfState // of the store's mark; given once, to raft's InitialState
	cut      uint64            // index of the entry before the first one
	cutTerm  uint64
	last     uint64
	tail     []*raftpb.Entry // the newest entries, without a gap; their sum is at most tailBytes, or one entry
	tailSize int
	sizes    []milestone
	every    uint64 // bytes between two milestones
	bytes    uint64 // of all entries
	snapshot func() (*raftpb.Snapshot, error)
	gaveUp   atomic.Bool // the engine holds a lock for ever, so that it cannot be closed
	broken   atomic.Bool // a write is under way or failed, and nobody knows what of it is on disk
	end      *ending
}

// milestone says how many bytes of entries were ever written up to an index, so that the log can be cut by bytes.
type milestone struct{ index, bytes uint64 }

const tailBytes = 16 << 20

// openLog opens the log in a folder, and creates it when there is none. keep is how many bytes of it are kept at least.
func openLog(dir string, fs vfs.FS, keep uint64, logger *slog.Logger) (*diskLog, error) {
	if err := makeFolder(fs, dir); err != nil {
		return nil, fmt.Errorf("create the log's folder: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return nil, fmt.Errorf("the log in %s is in use by another process: %w", dir, err)
	}
	end := &ending{fs: fs, dir: dir}
	if err := end.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log in %s: %w", dir, err), lock.Close())
	}
	cache := pebble.NewCache(8 << 20)
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		FS: fs, Lock: lock, Cache: cache, Logger: pebblestore.EngineLog{Logger: logger, Engine: "the log's engine"},
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 8 << 20, MemTableStopWritesThreshold: 8, L0StopWritesThreshold: 64,
		BytesPerSync: 1 << 20, EventListener: &pebble.EventListener{WALCreated: end.created},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the log in %s: %w", dir, err), lock.Close())
	}
	l := &diskLog{db: db, lock: lock, conf: &raftpb.ConfState{}, every: min(keep/8, 256<<10), end: end}
	if err := errors.Join(end.err(), l.load()); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log in %s: %w", dir, err), db.Close(), lock.Close())
	}
	end.compare(l.ends())
	return l, nil
}

func (l *diskLog) close() error {
	if l.gaveUp.Load() {
		return l.lock.Close()
	}
	err := l.db.Close()
	if err == nil && !l.broken.Load() {
		err = l.end.closed(l.ends())
	}
	return errors.Join(err, l.lock.Close())
}

func (l *diskLog) get(key []byte) ([]byte, error) {
	v, closer, err := l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

func (l *diskLog) load() error {
	b, err := l.get(keyIdentity)
	if err == nil && b != nil {
		err = json.Unmarshal(b, &l.identity)
	}
	if err != nil {
		return err
	}
	l.state = &raftpb.HardState{}
	if b, err = l.get(keyState); err == nil && b != nil {
		err = proto.Unmarshal(b, l.state)
	}
	if err != nil {
		return err
	}
	if b, err = l.get(keyCut); err != nil {
		return err
	}
	if len(b) == 16 {
		l.cut, l.cutTerm = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	}
	l.last = l.cut
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(l.cut + 1), UpperBound: []byte{rangeEntries + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		e, err := decodeEntry(it.Key(), v)
		if err != nil {
			return err
		}
		if e.GetIndex() != l.last+1 {
			return fmt.Errorf("%w: entry %d follows entry %d", ErrLogDamaged, e.GetIndex(), l.last)
		}
		l.keep([]*raftpb.Entry{e})
	}
	return it.Error()
}

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rangeEntries, '/'}, index)
}

// appendHead begins an entry's value. The entry's data follow.
func appendHead(b []byte, e *raftpb.Entry) []byte {
	return append(binary.AppendUvarint(b, e.GetTerm()), byte(e.GetType()))
}

// decodeEntry reads an entry. It shares no memory with the value.
func decodeEntry(key, value []byte) (*raftpb.Entry, error) {
	r := reader{Reader: packed.Reader{B: value}}
	term, kind := r.Uvarint(), raftpb.EntryType(r.Byte())
	if r.Failed || len(key) != 10 {
		return nil, ErrLogDamaged
	}
	var data []byte
	if len(r.B) > 0 {
		data = append([]byte{}, r.B...)
	}
	return &raftpb.Entry{Index: new(binary.BigEndian.Uint64(key[2:])), Term: new(term), Type: kind.Enum(), Data: data}, nil
}

// batch collects what one sync makes durable.
type logBatch struct {
	*pebble.Batch
	last    uint64            // index of the newest entry once the batch is written
	entries [][]*raftpb.Entry // in the order in which they were added
	state   *raftpb.HardState // nil: it stays
}

func (l *diskLog) newBatch() *logBatch { return &logBatch{Batch: l.db.NewBatch(), last: l.last} }

// add appends entries, in the place of those that have the same or a later index.
func (b *logBatch) add(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	var head [binary.MaxVarintLen64 + 1]byte
	for _, e := range entries { // the data are copied once
		head, key := appendHead(head[:0], e), entryKey(e.GetIndex())
		op := b.SetDeferred(len(key), len(head)+len(e.GetData()))
		copy(op.Key, key)
		copy(op.Value[copy(op.Value, head):], e.GetData())
		_ = op.Finish() // it fails for indexed batches only
	}
	newest := entries[len(entries)-1].GetIndex()
	if newest < b.last { // the rest of the tail that the entries replace
		_ = b.DeleteRange(entryKey(newest+1), entryKey(b.last+1), nil)
	}
	b.last, b.entries = newest, append(b.entries, entries)
}

func (b *logBatch) setState(s *raftpb.HardState) error {
	value, err := proto.Marshal(s)
	if err != nil {
		return err
	}
	b.state = s
	return b.Set(keyState, value, nil)
}

// write makes a batch part of the log.
func (l *diskLog) write(b *logBatch, sync *pebble.WriteOptions) error {
	l.broken.Store(true)
	if err := errors.Join(b.Commit(sync), l.end.err()); err != nil {
		return err
	}
	l.broken.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entries := range b.entries {
		l.keep(entries)
	}
	if b.state != nil {
		l.state = b.state
	}
	return b.Close()
}

// keep notes entries that were written. REQUIRES: mu is held, or nobody else uses the log yet.
func (l *diskLog) keep(entries []*raftpb.Entry) {
	first := entries[0].GetIndex()
	if first <= l.last {
		l.drop(first)
	}
	for _, e := range entries {
		l.tail = append(l.tail, e)
		size := len(e.GetData()) + 32
		l.tailSize += size
		l.bytes += uint64(size)
		if n := len(l.sizes); n == 0 || l.bytes-l.sizes[n-1].bytes >= l.every {
			l.sizes = append(l.sizes, milestone{e.GetIndex(), l.bytes})
		}
	}
	l.last = entries[len(entries)-1].GetIndex()
	drop := 0
	for l.tailSize > tailBytes && drop < len(l.tail)-1 {
		l.tailSize -= len(l.tail[drop].GetData()) + 32
		drop++
	}
	// The array behind the tail is replaced when append has filled it. A copy of the tail at each write would cost more than the write.
	clear(l.tail[:drop])
	l.tail = l.tail[drop:]
}

// drop forgets the entries from an index on, which others replace.
func (l *diskLog) drop(from uint64) {
	for n := len(l.tail); n > 0 && l.tail[n-1].GetIndex() >= from; n-- {
		l.tailSize -= len(l.tail[n-1].GetData()) + 32
		l.tail[n-1] = nil
		l.tail = l.tail[:n-1]
	}
	for n := len(l.sizes); n > 0 && l.sizes[n-1].index >= from; n-- {
		l.sizes = l.sizes[:n-1]
	}
	l.last = from - 1
}

// saveIdentity changes the identity and makes the change durable.
func (l *diskLog) saveIdentity(change func(*identity)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.identity
	change(&changed)
	b, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	if err := l.db.Set(keyIdentity, b, pebble.Sync); err != nil {
		return err
	}
	l.identity = changed
	return nil
}

func (l *diskLog) who() identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity
}
