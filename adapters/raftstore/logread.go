package raftstore

import (
	"fmt"

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
	if len(l.tail) == 0 || index < l.tail[0].GetIndex() || index > l.last {
		return nil
	}
	return l.tail[index-l.tail[0].GetIndex()]
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

func (l *diskLog) read(index uint64) (*raftpb.Entry, error) {
	key := entryKey(index)
	v, err := l.get(key)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%w: entry %d is gone", ErrLogDamaged, index)
	}
	return decodeEntry(key, v)
}

// Snapshot implements raft.Storage.
func (l *diskLog) Snapshot() (*raftpb.Snapshot, error) { return l.snapshot() }
