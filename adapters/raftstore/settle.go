package raftstore

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// LogEnd is where the log of a node ends. Of the nodes of a cluster, the one whose last entry has the highest term, and among those
// the highest index, has the most.
type LogEnd struct {
	Term, Index uint64 // of the last entry
}

// EndOfLog reads where the log of a node ends that does not run; nil: the folder is not that of a node of a cluster.
func EndOfLog(dir string, fs vfs.FS, logger *slog.Logger) (end *LogEnd, err error) {
	s := &Store{config: Config{Dir: dir}, fs: fs}
	if _, err := fs.Stat(s.folder(logFolder)); err != nil {
		return nil, nil
	}
	log, err := openLog(s.folder(logFolder), fs, 64<<20, logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	end = &LogEnd{}
	if end.Index, err = log.LastIndex(); err != nil {
		return nil, err
	}
	end.Term, err = log.Term(end.Index)
	return end, err
}

// Settled is a node that does not run, whose store has all of the node's log.
type Settled struct {
	Node    string
	Members []MemberStatus // by name
}

// Settle carries out the whole log of a node that does not run, so that its store can go on without the cluster
// (pebblestore.Options.Alone). That includes entries of which the node does not know whether a majority has them: an append
// that was answered may be among them. REQUIRES: the node never takes part in the cluster again.
func Settle(dir string, options pebblestore.Options, logger *slog.Logger) (settled Settled, err error) {
	if options.FS == nil {
		options.FS = vfs.Default
	}
	s := &Store{config: Config{Dir: dir, Store: options, Logger: logger}, logger: logger, fs: options.FS, started: time.Now()}
	if _, err := s.fs.Stat(s.folder(logFolder)); err != nil {
		return settled, fmt.Errorf("%s is not the data folder of a node of a cluster: %w", dir, err)
	}
	if s.log, err = openLog(s.folder(logFolder), s.fs, 64<<20, logger); err != nil {
		return settled, err
	}
	defer func() { err = errors.Join(err, s.log.close()) }()
	who := s.log.who()
	if who.Cluster == uuid.Nil {
		return settled, fmt.Errorf("node %s belongs to no cluster yet", cmp.Or(who.Name, "in "+dir))
	}
	s.proposals, s.applier = newProposals(s), &applier{store: s}
	if err := s.finishInstall(); err != nil {
		return settled, err
	}
	store, err := s.openReplica(uuid.Nil)
	if err != nil {
		return settled, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s.generation.Store(&generation{store, make(chan struct{})})
	b := store.Mark()
	if b == nil {
		return settled, errors.New("the store does not say where in the log it is")
	}
	m, err := decodeMark(b)
	if err != nil {
		return settled, err
	}
	s.applier.mark, s.applier.saved = m, m.index
	if m.index < s.log.cut {
		return settled, fmt.Errorf("%w: the log begins after entry %d, the store is at entry %d", ErrLogDamaged, s.log.cut, m.index)
	}
	for index := m.index + 1; index <= s.log.last; {
		entries, err := s.log.Entries(index, s.log.last+1, 4<<20)
		if err != nil {
			return settled, err
		}
		for _, e := range entries {
			if err := s.applier.settle(e); err != nil {
				return settled, fmt.Errorf("apply entry %d: %w", e.GetIndex(), err)
			}
		}
		index += uint64(len(entries))
	}
	settled.Node = who.Name
	for _, member := range s.applier.mark.members {
		settled.Members = append(settled.Members, MemberStatus{Name: member.name, Address: member.address})
	}
	slices.SortFunc(settled.Members, func(a, b MemberStatus) int { return cmp.Compare(a.Name, b.Name) })
	return settled, store.Sync()
}

// settle applies an entry where no raft runs.
func (a *applier) settle(e *raftpb.Entry) error {
	if e.GetType() == raftpb.EntryNormal {
		return a.entries([]*raftpb.Entry{e})
	}
	next := a.mark.clone()
	next.index, next.term = e.GetIndex(), e.GetTerm()
	var v2 raftpb.ConfChangeV2
	var c changeContext
	if e.GetType() == raftpb.EntryConfChangeV2 && proto.Unmarshal(e.GetData(), &v2) == nil && len(v2.GetChanges()) > 0 && json.Unmarshal(v2.GetContext(), &c) == nil {
		if next.allows(v2.GetChanges()[0], c) {
			next.change(v2.GetChanges()[0], c)
		}
	}
	if _, err := a.carryOut(&pebblestore.Block{At: next.time}, &next); err != nil {
		return err
	}
	a.advance(next)
	return nil
}
