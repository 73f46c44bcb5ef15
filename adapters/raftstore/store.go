// Package raftstore is the event store of several nodes: a log that the nodes agree on by Raft (go.etcd.io/raft), and on each
// node an embedded store (adapters/pebblestore) in which the node carries out the log.
//
// An entry of the log is a block: many append requests with their preconditions. Every node applies the blocks in the same
// order to its own store, which decides preconditions, revisions, positions and retries, the same on every node. So a
// position, a revision, a time and an id are equal on all nodes. Reads and subscriptions are local.
//
// # Promises
//
// An append that was answered is in the log of a majority, synced, and is applied exactly once on every node, whatever node
// dies. An append that fails with eventstore.ErrNoLeader was not written. After any other eventstore.ErrUnavailable the
// outcome is unknown, and the append may be sent again with the same event ids. Head is linearizable: it is not before any
// append that was answered by any node before the call.
//
// # Use
//
//	s, err := raftstore.Open(raftstore.Config{
//		Node: "n1", Members: map[string]string{"n1": "10.0.0.1:7950", "n2": …, "n3": …}, // or Join: true, Address: "10.0.0.4:7950"
//		Dir: data, TLS: config, Store: pebblestore.Options{…}, Logger: logger,
//	})
//	err = s.Ready(ctx) // the node has its store: ID, reads and subscriptions work from here on
//
// Open returns at once. Ready waits until a cluster is founded, or until the node is added to one and has received its events.
// Members is used once: a node that belongs to a cluster takes the members and their addresses from the log. A cluster is
// founded when all nodes of Members have met and none belongs to a cluster. The store in Dir/events may have events from
// before, on one of the nodes: they become the cluster's.
//
// Status, Err, Leads, Add, Remove, Transfer, Trim, Now, DiskUsage and Embedded are for the command line, metrics and backups.
package raftstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Config says how a node takes part in a cluster.
type Config struct {
	Node string // name of the node; with TLS its certificate must be for this name
	// Members are the names and addresses of the nodes that found a cluster together, with this node. It is used once.
	Members map[string]string
	// Join has the node wait until it is added to a cluster (Add). It founds none.
	Join   bool
	Listen string // address to listen at; "": Address
	// Address is where the other nodes reach this one; "": its address in Members, or else Listen.
	Address string
	// TLS gives the node's certificate and the authority of all nodes' certificates (RootCAs), for each connection. nil: no TLS,
	// for tests.
	TLS   func() *tls.Config
	Dir   string // the data folder: the store is in its folder events, the log in its folder raft
	Store pebblestore.Options
	// Notes gives what the node has noted before it founds a cluster; nil: nothing.
	Notes func() ([]pebblestore.Note, error)
	// LogBytes is how much log is kept at least for nodes that were away; 0: 64 MiB. A node that was away for longer gets a
	// copy of the whole store.
	LogBytes uint64
	Tick     time.Duration // an election takes 10 to 20 ticks, a heartbeat between nodes 2; 0: 50 ms
	GiveUp   time.Duration // how long an append waits for a majority; 0: 10 s
	Logger   *slog.Logger  // nil: discards
	Network  Network       // nil: TCP
	Rules    uint64        // the newest version of the rules that the node knows; 0: that of this version of rollcall. For tests
}

func (c *Config) giveUp() time.Duration { return c.GiveUp }

// Errors for which a node stops.
var (
	// ErrLogDamaged refuses a log that has lost entries. The node may have confirmed them.
	ErrLogDamaged = errors.New("the log is damaged: remove this node from the cluster, empty its data folder, and add it again")
	// ErrLogLost refuses a node whose log is gone: it has forgotten for which leader it voted.
	ErrLogLost = errors.New("the node has lost its log: remove this node from the cluster, empty its data folder, and add it again")
	// ErrRemoved is for a node that the cluster has removed.
	ErrRemoved = errors.New("the cluster has removed this node: empty its data folder before it joins again")
)

// Store is an eventstore.Store that several nodes have together.
type Store struct {
	config  Config
	logger  *slog.Logger
	fs      vfs.FS
	network Network
	started time.Time

	log       *diskLog
	engine    *engine
	peers     *peers
	proposals *proposals
	barriers  *barriers
	notes     notes
	applier   *applier
	snapshots *snapshots
	listener  net.Listener

	generation atomic.Pointer[generation] // nil: the node has no store yet
	failure    atomic.Pointer[error]      // why the node has stopped; nil: it runs
	ready      chan struct{}              // closed when the node has a store
	failed     chan struct{}              // closed when the node has stopped
	lives      context.Context            // ends when the store is closed, or has failed
	end        context.CancelFunc
	tasks      sync.WaitGroup
	running    sync.Mutex // held while the engine is started
	runs       bool       // guarded by running
	closing    chan struct{}
	close      sync.Once
	closed     error // of Close
	conns      connections
}

// generation is a store until a checkpoint of another node takes its place.
type generation struct {
	*pebblestore.Store
	replaced chan struct{} // closed when the next generation is there
}

// Open opens a node.
func Open(config Config) (*Store, error) {
	if config.Node == "" || config.Dir == "" {
		return nil, errors.New("a node of a cluster needs a name and a data folder")
	}
	if config.Tick == 0 {
		config.Tick = 50 * time.Millisecond
	}
	if config.GiveUp == 0 {
		config.GiveUp = 10 * time.Second
	}
	if config.LogBytes == 0 {
		config.LogBytes = 64 << 20
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Store.FS == nil {
		config.Store.FS = vfs.Default
	}
	if config.Network == nil {
		config.Network = tcp{config.TLS}
	}
	if config.Address == "" {
		config.Address = cmp.Or(config.Members[config.Node], config.Listen)
	}
	if config.Listen = cmp.Or(config.Listen, config.Address); config.Listen == "" {
		return nil, fmt.Errorf("node %s needs an address to listen at", config.Node)
	}
	s := &Store{
		config: config, logger: config.Logger.With("node", config.Node), fs: config.Store.FS, network: config.Network, started: time.Now(),
		ready: make(chan struct{}), failed: make(chan struct{}), closing: make(chan struct{}),
	}
	s.lives, s.end = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) folder(name string) string { return s.fs.PathJoin(s.config.Dir, name) }

// The folders of a node, in its data folder.
const (
	storeFolder    = "events"
	logFolder      = "raft/log"
	incomingFolder = "raft/incoming"
	checkpoints    = "raft/checkpoints"
)

// membersChanged takes the addresses of the members from a mark.
func (s *Store) membersChanged(m *mark) error {
	addresses := make(map[string]string, len(m.members))
	for _, member := range m.members {
		addresses[member.name] = member.address
	}
	who := s.log.who()
	if _, ok := m.members[who.ID]; !ok {
		s.fail(ErrRemoved)
		return s.log.saveIdentity(func(i *identity) { i.Removed = true })
	}
	s.peers.set(m.members, m.removed)
	return s.log.saveIdentity(func(i *identity) { i.Members = addresses })
}

// Ready waits until the node has its store.
func (s *Store) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-s.failed:
		return s.Err()
	case <-s.closing:
		return eventstore.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", s.notReady(), ctx.Err())
	}
}

// notReady is the error of a node without a store.
func (s *Store) notReady() error {
	return fmt.Errorf("%w: the node has not received the events of the cluster yet", eventstore.ErrUnavailable)
}

func (s *Store) current() *pebblestore.Store {
	if g := s.generation.Load(); g != nil {
		return g.Store
	}
	return nil
}

// Err is why the node takes no appends, or nil.
func (s *Store) Err() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	select {
	case <-s.closing:
		return eventstore.ErrClosed
	default:
	}
	store := s.current()
	switch {
	case store == nil:
		return s.notReady()
	case s.engine.withoutLeader() > leaderlessTicks*s.tick():
		return errNoLeader()
	}
	return store.Err()
}

// fail stops the node. Reads go on.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w: %w", eventstore.ErrReadOnly, cause)
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.logger.Error("the node has stopped", "cause", cause)
	close(s.failed)
	s.engine.stop()
	s.end()
	s.proposals.close(err)
	s.barriers.close(err)
	s.conns.close()
}

// removed notes that another node said that the cluster has removed this one.
func (s *Store) removed(said error) {
	s.fail(fmt.Errorf("%w (%w)", ErrRemoved, said))
}

func (s *Store) tick() time.Duration { return s.config.Tick }

func (s *Store) monotonic() time.Duration { return max(time.Since(s.started), 1) }

// Close implements eventstore.Store.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		s.end()
		if s.engine != nil {
			s.engine.stop()
			s.proposals.close(eventstore.ErrClosed)
			s.barriers.close(eventstore.ErrClosed)
		}
		if s.listener != nil {
			s.closed = s.listener.Close()
		}
		s.conns.close()
		s.tasks.Wait()
		if s.engine != nil {
			s.engine.wait()
			s.peers.close()
			s.snapshots.tasks.Wait()
		}
		if store := s.current(); store != nil {
			s.closed = errors.Join(s.closed, store.Close())
		}
		if s.log != nil {
			s.closed = errors.Join(s.closed, s.log.close())
		}
	})
	return s.closed
}
