package raftstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// InitialState implements raft.Storage.
func (l *diskLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.conf, nil
}

// FirstIndex implements raft.Storage.
func (l *diskLog) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut + 1, nil
}

// LastIndex implements raft.Storage.
func (l *diskLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, nil
}

// Term implements raft.Storage.
func (l *diskLog) Term(index uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term(index)
}

// term is the term of an entry. REQUIRES: mu is held.
func (l *diskLog) term(index uint64) (uint64, error) {
	switch {
	case index == l.cut:
		return l.cutTerm, nil
	case index < l.cut:
		return 0, raft.ErrCompacted
	case index > l.last:
		return 0, raft.ErrUnavailable
	}
	if e := l.cached(index); e != nil {
		return e.GetTerm(), nil
	}
	e, err := l.read(index)
	return e.GetTerm(), err
}

// cached is an entry of the tail; nil: the tail does not have it. REQUIRES: mu is held.
func (l *diskLog) cached(index uint64) *raftpb.Entry {
	if index > l.last {
		return nil
	}
	return within(l.tail, index)
}

// Entries implements raft.Storage.
func (l *diskLog) Entries(low, high, maxSize uint64) ([]*raftpb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if low <= l.cut {
		return nil, raft.ErrCompacted
	}
	if high > l.last+1 {
		return nil, raft.ErrUnavailable
	}
	var entries []*raftpb.Entry
	size := uint64(0)
	for index := low; index < high; index++ {
		e := l.cached(index)
		if e == nil {
			var err error
			if e, err = l.read(index); err != nil {
				return nil, err
			}
		}
		size += uint64(proto.Size(e))
		if size > maxSize && len(entries) > 0 {
			break
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// read reads an entry that the tail does not have, and keeps the entries of its frame. REQUIRES: mu is held.
func (l *diskLog) read(index uint64) (*raftpb.Entry, error) {
	if e := within(l.window, index); e != nil {
		return e, nil
	}
	f, at, next := l.find(index)
	if f == nil {
		return nil, fmt.Errorf("%w: entry %d is gone", ErrLogDamaged, index)
	}
	records, err := l.readFrame(f, at)
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(records)
	if err != nil {
		return nil, err
	}
	l.window = slices.DeleteFunc(entries, func(e *raftpb.Entry) bool { return e.GetIndex() >= next }) // others took their place
	e := within(l.window, index)
	if e == nil {
		return nil, fmt.Errorf("%w: entry %d is gone", ErrLogDamaged, index)
	}
	return e, nil
}

// find gives the frame of an entry, and the index of the first entry after the frame. REQUIRES: mu is held.
func (l *diskLog) find(index uint64) (f *logFile, at int64, next uint64) {
	next = l.last + 1
	for _, f := range slices.Backward(l.files) {
		n, _ := slices.BinarySearchFunc(f.frames, index+1, func(f frame, index uint64) int { return cmp.Compare(f.first, index) })
		if n < len(f.frames) {
			next = f.frames[n].first
		}
		if n > 0 {
			return f, f.frames[n-1].at, next
		}
	}
	return nil, 0, 0
}

func (l *diskLog) readFrame(f *logFile, at int64) ([]byte, error) {
	file, err := l.fs.Open(l.fs.PathJoin(l.dir, logName(f.number)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := make([]byte, 4)
	if _, err := file.ReadAt(size, at+int64(seedSize)); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	bytes := int64(frameHead) + int64(binary.BigEndian.Uint32(size))
	if err != nil || at+bytes > info.Size() {
		return nil, errors.Join(ErrLogDamaged, err)
	}
	frame := make([]byte, bytes)
	if _, err := file.ReadAt(frame, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if f.sum(frame, at) != binary.BigEndian.Uint64(frame[sumAt:]) {
		return nil, fmt.Errorf("%w: %s is damaged at %d", ErrLogDamaged, logName(f.number), at)
	}
	return frame[frameHead:], nil
}

// entriesOf gives the entries of a frame, of which later ones take the place of earlier ones.
func entriesOf(records []byte) (entries []*raftpb.Entry, err error) {
	for len(records) > 0 {
		var r record
		if r, records, err = nextRecord(records); err != nil {
			return nil, err
		}
		if r.kind != recordEntry {
			continue
		}
		e, err := r.asEntry()
		if err != nil {
			return nil, err
		}
		for len(entries) > 0 && entries[len(entries)-1].GetIndex() >= e.GetIndex() {
			entries = entries[:len(entries)-1]
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// within is an entry of some that follow each other; nil: it is not among them.
func within(entries []*raftpb.Entry, index uint64) *raftpb.Entry {
	if len(entries) == 0 || index < entries[0].GetIndex() || index > entries[len(entries)-1].GetIndex() {
		return nil
	}
	return entries[index-entries[0].GetIndex()]
}

// Snapshot implements raft.Storage.
func (l *diskLog) Snapshot() (*raftpb.Snapshot, error) { return l.snapshot() }
