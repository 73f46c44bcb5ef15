package raftstore

import (
	"encoding/binary"
	"encoding/json"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Where the log begins: entries that the store has are cut off, and a log begins anew where a checkpoint takes the place of the store.

// reset has the log begin after an entry that a checkpoint has, without entries, and notes that the checkpoint takes the
// place of the store.
func (l *diskLog) reset(index, term uint64, state *raftpb.HardState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.identity
	changed.Installing = true
	b, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	s, err := proto.Marshal(state)
	if err != nil {
		return err
	}
	batch := l.db.NewBatch()
	defer batch.Close()
	_ = batch.DeleteRange(entryKey(0), []byte{rangeEntries + 1}, nil)
	_ = batch.Set(keyCut, cutValue(index, term), nil)
	_ = batch.Set(keyIdentity, b, nil)
	_ = batch.Set(keyState, s, nil)
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	l.identity, l.state = changed, state
	l.cut, l.cutTerm, l.last = index, term, index
	l.tail, l.tailSize, l.sizes, l.bytes = nil, 0, nil, 0
	return nil
}

func cutValue(index, term uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, index), term)
}

// cutTo removes the entries up to an index. REQUIRES: the store has them durably.
func (l *diskLog) cutTo(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index <= l.cut || index > l.last { // the log began anew meanwhile
		return nil
	}
	term, err := l.term(index)
	if err != nil {
		return err
	}
	batch := l.db.NewBatch()
	defer batch.Close()
	_ = batch.DeleteRange(entryKey(0), entryKey(index+1), nil)
	_ = batch.Set(keyCut, cutValue(index, term), nil)
	if err := batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	l.cut, l.cutTerm = index, term
	n := 0
	for n < len(l.tail) && l.tail[n].GetIndex() <= index {
		l.tailSize -= len(l.tail[n].GetData()) + 32
		n++
	}
	l.tail = append([]*raftpb.Entry(nil), l.tail[n:]...)
	for n = 0; n < len(l.sizes)-1 && l.sizes[n+1].index <= index; {
		n++
	}
	l.sizes = append([]milestone(nil), l.sizes[n:]...)
	return nil
}

// size is how many bytes the entries take that are kept, up to a milestone.
func (l *diskLog) size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sizes) == 0 {
		return 0
	}
	return l.bytes - l.sizes[0].bytes
}

// before is the newest index up to which the log can be cut so that it keeps a number of bytes; 0: it has fewer.
func (l *diskLog) before(keep uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := uint64(0)
	for _, m := range l.sizes {
		if l.bytes-m.bytes < keep {
			break
		}
		found = m.index
	}
	return found
}
