package raftstore

import (
	"errors"

	"go.etcd.io/raft/v3/raftpb"
)

// Where the log begins: entries that the store has are cut off, and a log begins anew where a checkpoint takes the place of the store.

// reset has the log begin after an entry that a checkpoint has, without entries, and notes that the checkpoint takes the
// place of the store.
func (l *diskLog) reset(index, term uint64, state *raftpb.HardState) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	changed := l.who()
	changed.Installing = true
	r := newFrame(l.buffer)
	r.place(recordReset, index, term)
	if err := errors.Join(r.identity(&changed), r.state(state)); err != nil {
		return err
	}
	if _, err := l.append(r); err != nil {
		return err
	}
	l.mu.Lock()
	l.identity, l.state = changed, state
	l.beginAfter(index, term)
	l.to.of.ends = l.last
	l.mu.Unlock()
	return l.removeFiles()
}

// beginAfter has the log begin after an entry, without entries. REQUIRES: mu is held, or nobody else uses the log yet.
func (l *diskLog) beginAfter(index, term uint64) {
	l.cut, l.cutTerm, l.last, l.missing = index, term, index, index
	l.tail, l.tailSize, l.window, l.sizes, l.bytes = nil, 0, nil, nil, 0
	for _, f := range l.files {
		f.frames = nil
	}
}

// cutTo removes the entries up to an index. REQUIRES: the store has them durably.
func (l *diskLog) cutTo(index uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	if index <= l.cut || index > l.last { // the log began anew meanwhile
		l.mu.Unlock()
		return nil
	}
	term, err := l.term(index)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	r := newFrame(l.buffer)
	r.place(recordCut, index, term)
	if _, err := l.append(r); err != nil {
		return err
	}
	l.mu.Lock()
	l.cutAt(index, term)
	l.mu.Unlock()
	return l.removeFiles()
}

// cutAt forgets the entries up to an index. REQUIRES: mu is held, or nobody else uses the log yet.
func (l *diskLog) cutAt(index, term uint64) {
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
