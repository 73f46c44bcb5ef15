package raftstore

import (
	"errors"
	"fmt"
	"path"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

func (s *Store) open() (err error) {
	if s.log, err = openLog(s.folder(logFolder), s.fs, s.config.LogBytes, s.logger); err != nil {
		return err
	}
	if err := s.log.end.damage; err != nil {
		return err
	}
	s.proposals, s.barriers, s.applier, s.snapshots, s.peers = newProposals(s), newBarriers(s), &applier{store: s}, newSnapshots(s), newPeers(s)
	s.log.snapshot = s.snapshots.current
	s.engine = newEngine(s)
	if err := s.identify(); err != nil {
		return err
	}
	if err := s.openStore(); err != nil {
		return err
	}
	if s.listener, err = s.network.Listen(s.config.Listen); err != nil {
		return fmt.Errorf("listen for nodes of the cluster: %w", err)
	}
	s.tasks.Go(s.accept)
	s.tasks.Go(s.begin)
	s.tasks.Go(s.maintain)
	return nil
}

// identify gives a new log an identity, and counts the start.
func (s *Store) identify() error {
	who := s.log.who()
	switch {
	case who.Removed:
		return ErrRemoved
	case who.Name != "" && who.Name != s.config.Node:
		return fmt.Errorf("the data folder is that of node %s, not of node %s", who.Name, s.config.Node)
	}
	id := who.ID
	for id == 0 {
		random := uuid.New()
		for _, b := range random[:8] {
			id = id<<8 | uint64(b)
		}
		id &= 1<<63 - 1 // raft keeps the greatest numbers for itself
	}
	return s.log.saveIdentity(func(i *identity) {
		i.ID, i.Name, i.Incarnation = id, s.config.Node, i.Incarnation+1
	})
}

// openStore opens the store of a node that belongs to a cluster, if it has one.
func (s *Store) openStore() error {
	if err := errors.Join(s.finishInstall(), s.fs.RemoveAll(s.folder(incomingFolder)), s.fs.RemoveAll(s.folder(checkpoints))); err != nil {
		return err
	}
	who := s.log.who()
	exists, err := s.hasStore()
	if err != nil || !exists {
		return err
	}
	if who.Cluster == uuid.Nil {
		if who.Founding {
			return nil // begin founds again
		}
		alone, err := pebblestore.Open(s.folder(storeFolder), s.options(func(o *pebblestore.Options) { o.ReadOnly = true }))
		if err != nil {
			return err
		}
		marked := alone.Mark() != nil
		if err := alone.Close(); err != nil {
			return err
		}
		if marked {
			return ErrLogLost
		}
		return nil
	}
	store, err := s.openReplica(uuid.Nil)
	if err != nil {
		return err
	}
	if err := s.use(store); err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// hasStore says whether there is a store in the data folder.
func (s *Store) hasStore() (bool, error) {
	if err := checkFiles(s.fs, s.folder(storeFolder)); err != nil {
		return false, fmt.Errorf("look for an event store: %w", err)
	}
	described, err := pebble.Peek(s.folder(storeFolder), s.fs)
	if err != nil {
		if _, missing := s.fs.Stat(s.folder(storeFolder)); missing != nil {
			return false, nil
		}
		return false, err
	}
	return described.Exists, nil
}

func (s *Store) options(change func(*pebblestore.Options)) pebblestore.Options {
	o := s.config.Store
	change(&o)
	return o
}

func (s *Store) openReplica(id uuid.UUID) (*pebblestore.Store, error) {
	if err := makeFolder(s.fs, s.folder(storeFolder)); err != nil {
		return nil, err
	}
	return pebblestore.Open(s.folder(storeFolder), s.options(func(o *pebblestore.Options) { o.Replica, o.ID = true, id }))
}

// use makes a store the node's present one. REQUIRES: no entry is being applied.
func (s *Store) use(store *pebblestore.Store) error {
	b := store.Mark()
	if b == nil {
		return fmt.Errorf("%s has left the cluster: empty the folder %s, and found a cluster with it", s.folder(storeFolder), path.Dir(logFolder))
	}
	m, err := decodeMark(b)
	if err != nil {
		return err
	}
	if knows := s.newest(); m.rules > knows {
		return tooOld(m.rules, knows)
	}
	if who := s.log.who(); m.cluster != who.Cluster {
		return fmt.Errorf("the store is of cluster %s, the log of cluster %s", m.cluster, who.Cluster)
	}
	if err := m.shapes(store); err != nil {
		return err
	}
	s.applier.mu.Lock()
	s.applier.saved = m.index
	s.applier.mu.Unlock()
	s.log.mu.Lock()
	s.log.conf = m.conf
	s.log.mu.Unlock()
	if err := s.membersChanged(&m); err != nil {
		return err
	}
	before := s.generation.Swap(&generation{store, make(chan struct{})})
	s.applier.advance(m) // who waits for an entry reads the new store
	s.proposals.skipped(m.writers[s.log.who().ID])
	if before != nil {
		close(before.replaced)
	} else {
		close(s.ready)
	}
	return nil
}

// run starts the engine, once.
func (s *Store) run() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.runs {
		return nil
	}
	if err := s.agree(); err != nil {
		return err
	}
	s.runs = true
	return s.engine.start(s.applier.at().index)
}

// agree holds the log and the mark against each other. The log's state may say that less is committed than the store has,
// because it is saved without a sync.
func (s *Store) agree() error {
	index := s.applier.at().index
	s.log.mu.Lock()
	cut, last, state := s.log.cut, s.log.last, s.log.state
	s.log.mu.Unlock()
	switch {
	case index > last:
		return fmt.Errorf("%w: the log ends at entry %d, the store is at entry %d", ErrLogDamaged, last, index)
	case index < cut:
		return fmt.Errorf("%w: the log begins after entry %d, the store is at entry %d", ErrLogDamaged, cut, index)
	case state.GetCommit() > last:
		return fmt.Errorf("%w: the log ends at entry %d, but entry %d is committed", ErrLogDamaged, last, state.GetCommit())
	case state.GetCommit() >= index:
		return nil
	}
	b := &logBatch{}
	raised := cloneState(state)
	raised.Commit = new(index)
	b.state = raised
	return s.log.write(b)
}
