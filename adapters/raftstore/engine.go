package raftstore

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Times in ticks.
const (
	heartbeatTicks = 2
	electionTicks  = 10
	// leaderlessTicks is how long a node has no leader before it refuses appends at once. An election takes less.
	leaderlessTicks = 3 * electionTicks
	// stuckTicks is how long the disk of the leader takes no write before another node is asked to lead.
	stuckTicks = 4 * electionTicks
)

// engine runs raft. What raft does waits for nothing: the loop calls it, or the goroutine that has a message for it (see doNow). The
// appender makes entries durable; the applier carries out what is committed. Raft's order of storage messages
// (AsyncStorageWrites) keeps the three in step.
type engine struct {
	store  *Store
	raft   sync.Mutex    // held by who calls raft
	node   *raft.RawNode // guarded by raft; nil: it has not started
	inbox  mailbox[func(*raft.RawNode)]
	append mailbox[*raftpb.Message]
	apply  mailbox[applyTask]
	halt   chan struct{} // closed by stop
	tasks  sync.WaitGroup
	once   sync.Once
	turns  turns  // guarded by raft
	rounds rounds // guarded by raft

	unsaved *raftpb.HardState // newer than that of the log, but only in what is committed; nil: there is none. Only the appender uses it
	asked   closedLog         // the term and the vote that raft wanted to be saved last; guarded by raft
	confirmed

	view       atomic.Pointer[view]
	writing    atomic.Int64 // when the write to the log began that is under way, as leaderless; 0: none is
	leaderless atomic.Int64 // when this node lost its leader, Unix nanoseconds of the monotonic clock; 0: it has one
	elections  atomic.Uint64
}

// view is what the loop last saw.
type view struct {
	role      raft.StateType
	leader    uint64 // 0: there is none
	term      uint64
	committed uint64
	applied   uint64            // as raft knows; raft reads the entries after it
	match     map[uint64]uint64 // of the leader: the newest entry that each member has
}

// applyTask is what the applier does next: entries of a message, or a function.
type applyTask struct {
	message *raftpb.Message
	do      func()
}

func newEngine(s *Store) *engine {
	e := &engine{store: s, halt: make(chan struct{}), confirmed: confirmed{last: map[uint64]confirmation{}}}
	e.inbox.init()
	e.append.init()
	e.apply.init()
	e.view.Store(&view{})
	e.rounds.late = time.AfterFunc(time.Hour, func() { e.doNow(func(*raft.RawNode) {}) })
	e.rounds.late.Stop()
	e.leaderless.Store(int64(s.monotonic()))
	return e
}

// start begins to take part in the cluster. applied is the index of the store's mark.
func (e *engine) start(applied uint64) error {
	who := e.store.log.who()
	node, err := raft.NewRawNode(&raft.Config{
		ID: who.ID, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks, Storage: e.store.log, Applied: applied,
		AsyncStorageWrites: true, MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 16 << 20, MaxUncommittedEntriesSize: 256 << 20,
		MaxInflightMsgs: 256, MaxInflightBytes: 64 << 20, CheckQuorum: true, PreVote: true, StepDownOnRemoval: true,
		DisableProposalForwarding: true, Logger: raftLogger{e.store.logger},
	})
	if err != nil {
		return err
	}
	if _, conf, _ := e.store.log.InitialState(); len(conf.GetVoters()) == 1 && conf.GetVoters()[0] == who.ID {
		if err := node.Campaign(); err != nil { // there is nobody to wait for
			return err
		}
	}
	e.raft.Lock()
	e.node = node
	e.raft.Unlock()
	e.tasks.Go(e.loop)
	e.tasks.Go(e.appendEntries)
	e.tasks.Go(e.applyEntries)
	return nil
}

// stop ends the goroutines. What was not applied is applied by the next start.
func (e *engine) stop() { e.once.Do(func() { close(e.halt) }) }

func (e *engine) wait() { e.tasks.Wait() }

// do has the loop call a function with raft. A node that has stopped calls none.
func (e *engine) do(f func(*raft.RawNode)) {
	if !e.halted() {
		e.inbox.put(f)
	}
}

// doNow is do, but this goroutine calls the function, if no other goroutine calls raft now: that takes some microseconds, and
// to wake the loop would cost more. REQUIRES: the caller holds no lock.
func (e *engine) doNow(f func(*raft.RawNode)) {
	if !e.halted() {
		e.inbox.leave(f)
		e.work()
	}
}

// work calls what is in the inbox, and sends what waits for the other nodes.
//
// INVARIANT: nothing is left behind. Who finds raft in use has put its function into the inbox before, and who uses raft looks
// into the inbox once more after that.
func (e *engine) work() {
	for e.inbox.any() && e.raft.TryLock() {
		started := e.node != nil
		if started {
			e.turn(false)
		}
		e.raft.Unlock()
		if !started { // the loop begins with what is in the inbox
			break
		}
	}
	e.store.peers.flush()
}

// loop calls raft at ticks, and for those who do not do it themselves.
func (e *engine) loop() {
	ticker := time.NewTicker(e.store.tick())
	defer ticker.Stop()
	for {
		e.work()
		select {
		case <-e.halt:
			return
		case <-ticker.C:
			e.tick()
		case <-e.inbox.wake:
		}
	}
}

func (e *engine) tick() {
	defer e.store.peers.flush()
	e.raft.Lock()
	defer e.raft.Unlock()
	e.node.Tick()
	e.awaitTurn()
	e.store.proposals.look()
	e.store.barriers.look()
	e.turn(true)
}

// turn calls what is in the inbox, and passes on what raft wants done. REQUIRES: raft is held, and has started.
func (e *engine) turn(ticked bool) {
	for _, f := range e.inbox.take() {
		f(e.node)
	}
	e.round()
	for e.node.HasReady() {
		e.handle(e.node.Ready())
	}
	e.look(ticked)
}

// handle passes on what raft wants done. Nothing in it waits.
func (e *engine) handle(ready raft.Ready) {
	if n := len(ready.Entries); n > 0 {
		e.rounds.newest = ready.Entries[n-1].GetIndex()
	}
	for _, m := range ready.Messages {
		switch {
		case m.GetTo() == raft.LocalAppendThread && e.waits(m):
			e.append.leave(m)
		case m.GetTo() == raft.LocalAppendThread:
			e.append.put(m)
		case m.GetTo() == raft.LocalApplyThread:
			e.apply.put(applyTask{message: m})
		case m.GetType() == raftpb.MsgSnap:
			e.store.snapshots.send(m)
		default:
			e.store.peers.sendRaft(m)
		}
	}
	for _, r := range ready.ReadStates {
		e.store.barriers.read(r)
	}
}

// look publishes what changed. How far the members are it looks up at ticks only.
func (e *engine) look(ticked bool) {
	status := e.node.BasicStatus()
	before := e.view.Load()
	same := before.role == status.RaftState && before.leader == status.Lead && before.term == status.GetTerm()
	if same && before.committed == status.GetCommit() && before.applied == status.Applied && !ticked {
		return
	}
	now := &view{role: status.RaftState, leader: status.Lead, term: status.GetTerm(), committed: status.GetCommit(), applied: status.Applied, match: before.match}
	switch {
	case now.role != raft.StateLeader:
		now.match = nil
	case ticked || now.match == nil:
		now.match = make(map[uint64]uint64, len(before.match))
		e.node.WithProgress(func(id uint64, _ raft.ProgressType, p progress) { now.match[id] = p.Match })
	}
	e.view.Store(now)
	if now.leader == before.leader && now.term == before.term {
		return
	}
	switch {
	case now.leader != 0:
		e.leaderless.Store(0)
		e.elections.Add(1)
	case before.leader != 0:
		e.leaderless.Store(int64(e.store.monotonic()))
	}
	e.store.logger.Info("the cluster's leader", "leader", e.store.nameOf(now.leader), "term", now.term, "role", roleOf(now.role))
	e.store.proposals.resend()
	e.store.barriers.resend()
}

// stuck says whether the disk has not taken a write for so long that another node should lead.
func (e *engine) stuck() bool {
	since := e.writing.Load()
	return since != 0 && e.store.monotonic()-time.Duration(since) > stuckTicks*e.store.tick()
}

// withoutLeader is how long this node has had no leader; 0: it has one.
func (e *engine) withoutLeader() time.Duration {
	since := e.leaderless.Load()
	if since == 0 {
		return 0
	}
	return max(e.store.monotonic()-time.Duration(since), 1)
}

// receive takes a message from another node.
func (e *engine) receive(m *raftpb.Message) { e.doNow(e.step(m)) }

func (e *engine) step(m *raftpb.Message) func(*raft.RawNode) {
	return func(n *raft.RawNode) {
		if m.GetType() == raftpb.MsgHeartbeat {
			// A leader tells a node of no entries beyond those that the node has confirmed, and these were on disk. Raft would panic.
			if last, _ := e.store.log.LastIndex(); m.GetCommit() > last {
				e.store.fail(fmt.Errorf("%w: it ends at entry %d, and this node has confirmed entry %d", ErrLogDamaged, last, m.GetCommit()))
				return
			}
		}
		_ = n.Step(m) // an error says that the message is of no use any more
	}
}

func (e *engine) unreachable(id uint64) {
	e.do(func(n *raft.RawNode) { n.ReportUnreachable(id) })
}

// applied tells raft what was applied. Raft needs to know that only to bound how much is being applied, so a small part waits for the
// next message, or for the next tick.
func (e *engine) applied(responses []*raftpb.Message) {
	for _, m := range responses {
		size := 0
		for _, entry := range m.GetEntries() {
			size += len(entry.GetData())
		}
		if size > largePart {
			e.receive(m)
		} else {
			e.inbox.leave(e.step(m))
		}
	}
}

const largePart = 1 << 20 // bytes

// deliver passes on what a storage thread answers.
func (e *engine) deliver(responses []*raftpb.Message) {
	defer e.store.peers.flush()
	own := e.store.log.who().ID
	for _, m := range responses {
		if m.GetTo() == own {
			e.receive(m)
		} else {
			e.store.peers.sendRaft(m)
		}
	}
}

// appendEntries makes entries, votes and terms durable, several messages with one sync. A failure stops the node: after a
// failed sync nobody knows what is on disk.
func (e *engine) appendEntries() {
	for {
		select {
		case <-e.halt:
			return
		case <-e.append.wake:
		}
		messages := e.append.take()
		for len(messages) > 0 {
			n := 0
			for n < len(messages) && raft.IsEmptySnap(messages[n].GetSnapshot()) {
				n++
			}
			err := e.write(messages[:n])
			if err == nil && n < len(messages) {
				err = e.store.snapshots.install(messages[n])
				e.unsaved = nil
				n++
			}
			if err != nil {
				e.store.fail(fmt.Errorf("write the log: %w", err))
				return
			}
			for _, m := range messages[:n] {
				e.deliver(slices.DeleteFunc(m.GetResponses(), e.confirms))
			}
			messages = messages[n:]
		}
	}
}

// write writes messages without a snapshot, with one sync. Entries, votes and terms need it. How far the log is committed
// does not, because every leader finds that out: it is written with the next entries.
func (e *engine) write(messages []*raftpb.Message) (err error) {
	entries, state := 0, e.unsaved
	for _, m := range messages {
		entries += len(m.GetEntries())
		if now := hardState(m); now != nil {
			state = now
		}
	}
	if entries == 0 && (state == nil || !raft.MustSync(state, e.store.log.state, 0)) {
		e.unsaved = state
		return nil
	}
	e.writing.Store(int64(e.store.monotonic()))
	defer e.writing.Store(0)
	b := &logBatch{}
	for _, m := range messages {
		b.add(m.GetEntries())
	}
	b.state = state
	e.unsaved = nil
	return e.store.log.write(b)
}

// hardState is the state that a message asks to save; nil: none.
func hardState(m *raftpb.Message) *raftpb.HardState {
	state := &raftpb.HardState{Term: new(m.GetTerm()), Vote: new(m.GetVote()), Commit: new(m.GetCommit())}
	if raft.IsEmptyHardState(state) {
		return nil
	}
	return state
}
