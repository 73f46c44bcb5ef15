package raftstore

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/rollcall-registry/rollcall/projections/durable"
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

// diskLog is the log of one node, and raft's Storage. It is a row of files (logfile.go) and their newest entries in memory.
//
// INVARIANT: the appender writes entries, or the opening goroutine before it starts. Any goroutine reads, cuts the log, or changes the
// identity.
type diskLog struct {
	fs      vfs.FS
	dir     string
	lock    *pebble.Lock
	maxFile int64 // bytes after which another file is begun
	ahead   int64 // how many zeros are written in advance

	writing sync.Mutex // held to write; taken before mu
	to      *writer    // guarded by writing; nil: this process has written nothing yet
	broken  bool       // a write is under way or failed, and nobody knows what of it is on disk; guarded by writing
	buffer  []byte     // guarded by writing
	end     *ending

	mu       sync.Mutex
	identity identity
	state    *raftpb.HardState
	conf     *raftpb.ConfState // of the store's mark; given once, to raft's InitialState
	cut      uint64            // index of the entry before the first one
	cutTerm  uint64
	last     uint64
	missing  uint64          // while the log is read: the entries up to here are not in the files
	tail     []*raftpb.Entry // the newest entries, without a gap; their sum is at most maxTail, or one entry
	tailSize int
	maxTail  int
	window   []*raftpb.Entry // of the frame that was read last
	sizes    []milestone
	every    uint64 // bytes between two milestones
	bytes    uint64 // of all entries
	snapshot func() (*raftpb.Snapshot, error)
	files    []*logFile // oldest first
	newest   uint64     // number of the newest file
	spares   []string   // names of files that can be used again
}

// milestone says how many bytes of entries were ever written up to an index, so that the log can be cut by bytes.
type milestone struct{ index, bytes uint64 }

// tailBytes is how many bytes of entries are in memory at most: about what a second of many appends makes. A node that is further behind gets
// entries from the files.
const tailBytes = 4 << 20

// openLog opens the log in a folder, and creates it when there is none. keep is how many bytes of it are kept at least.
func openLog(dir string, fs vfs.FS, keep uint64, logger *slog.Logger) (*diskLog, error) {
	if err := makeFolder(fs, dir); err != nil {
		return nil, fmt.Errorf("create the log's folder: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, fs)
	switch {
	case durable.LockUnopened(err):
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("the log in %s is in use by another process: %w", dir, err)
	}
	l := &diskLog{
		fs: fs, dir: dir, lock: lock, state: &raftpb.HardState{}, conf: &raftpb.ConfState{}, every: min(keep/8, 256<<10),
		maxFile: int64(min(keep/4, maxFile)), ahead: int64(min(keep/64, maxAhead)), maxTail: int(min(keep/4, tailBytes)),
		end: &ending{fs: fs, dir: dir},
	}
	for _, step := range []func() error{func() error { return checkFiles(fs, fs.PathDir(dir), dir) }, l.end.look, func() error { return l.fromEngine(logger) }, l.listFiles, l.load, l.syncFound} {
		if err := step(); err != nil {
			return nil, errors.Join(fmt.Errorf("open the log in %s: %w", dir, err), lock.Close())
		}
	}
	l.end.expect(l.identity)
	l.end.compare(l.ends())
	return l, nil
}

func (l *diskLog) close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	var err error
	if l.to != nil {
		err = l.to.file.Close()
		if err == nil && !l.broken {
			err = l.end.closed(l.ends())
		}
		l.to, l.broken = nil, true
	}
	return errors.Join(err, l.lock.Close())
}

// batch collects what one sync makes durable.
type logBatch struct {
	entries [][]*raftpb.Entry // in the order in which they were added
	state   *raftpb.HardState // nil: it stays
}

// add appends entries, in the place of those that have the same or a later index.
func (b *logBatch) add(entries []*raftpb.Entry) {
	if len(entries) > 0 {
		b.entries = append(b.entries, entries)
	}
}

// write makes a batch part of the log, durably.
func (l *diskLog) write(b *logBatch) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	r := newFrame(l.buffer)
	for _, entries := range b.entries {
		for _, e := range entries {
			r.entry(e)
		}
	}
	if b.state != nil {
		if err := r.state(b.state); err != nil {
			return err
		}
	}
	at, err := l.append(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.to.of
	for _, entries := range b.entries {
		l.keep(f, at, entries)
	}
	f.ends = l.last
	if b.state != nil {
		l.state = b.state
	}
	return nil
}

// append writes a frame to the newest file, and says where. After an error nothing more is written. REQUIRES: writing is held.
func (l *diskLog) append(r *records) (at int64, err error) {
	if l.broken {
		return 0, errors.New("a write to the log has failed before")
	}
	if len(r.b) > math.MaxInt32 {
		return 0, fmt.Errorf("a write of %d bytes is too large for the log", len(r.b))
	}
	l.broken = true
	if l.to == nil || l.to.at >= l.maxFile {
		if err := l.begin(); err != nil {
			return 0, err
		}
	}
	at = l.to.at
	if err := l.to.write(r, l.ahead); err != nil {
		return 0, err
	}
	l.broken = false
	if l.buffer = r.b; cap(l.buffer) > maxBuffer {
		l.buffer = nil
	}
	return at, nil
}

const maxBuffer = 1 << 20 // of a write, to be used for the next one

// keep notes entries that are in a frame. REQUIRES: mu is held, or nobody else uses the log yet.
func (l *diskLog) keep(f *logFile, at int64, entries []*raftpb.Entry) {
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
	if n := len(f.frames); n == 0 || f.frames[n-1].at != at {
		f.frames = append(f.frames, frame{first, at})
	}
	drop := 0
	for l.tailSize > l.maxTail && drop < len(l.tail)-1 {
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
	for i := len(l.files) - 1; i >= 0; i-- {
		f := l.files[i]
		for n := len(f.frames); n > 0 && f.frames[n-1].first >= from; n-- {
			f.frames = f.frames[:n-1]
		}
		if len(f.frames) > 0 {
			break
		}
	}
	l.window = nil
	l.last = from - 1
}

// saveIdentity changes the identity and makes the change durable.
func (l *diskLog) saveIdentity(change func(*identity)) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	changed := l.who()
	change(&changed)
	r := newFrame(l.buffer)
	if err := r.identity(&changed); err != nil {
		return err
	}
	if _, err := l.append(r); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.identity = changed
	return nil
}

func (l *diskLog) who() identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity
}
