package raftstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// applier carries out the committed entries, in order.
//
// INVARIANT: only the applier's goroutine changes the store and the mark. mu guards the mark for those who read it.
type applier struct {
	store *Store

	mu      sync.Mutex
	mark    mark   // of the newest entry that was applied; it may be ahead of the store's by entries without a block
	saved   uint64 // index of the mark in the store
	waiting []waiter
	sum     Duration

	requests []eventstore.AppendRequest // buffers
	results  []eventstore.AppendResult
}

// waiter waits until an index is applied.
type waiter struct {
	index uint64
	done  chan struct{}
}

// applyEntries is the applier's goroutine.
func (e *engine) applyEntries() {
	for {
		select {
		case <-e.halt:
			return
		case <-e.apply.wake:
		}
		for _, task := range e.apply.take() {
			if task.do != nil {
				task.do()
				continue
			}
			for _, entry := range task.message.GetEntries() {
				if e.halted() {
					return
				}
				if err := e.store.applier.entry(entry); err != nil {
					e.store.fail(fmt.Errorf("apply entry %d: %w", entry.GetIndex(), err))
					return
				}
			}
			e.deliver(task.message.GetResponses())
		}
	}
}

func (e *engine) halted() bool {
	select {
	case <-e.halt:
		return true
	default:
		return false
	}
}

// entry applies one entry.
func (a *applier) entry(e *raftpb.Entry) error {
	if e.GetIndex() <= a.mark.index {
		return nil
	}
	next := a.mark
	next.index, next.term = e.GetIndex(), e.GetTerm()
	var err error
	switch {
	case e.GetType() == raftpb.EntryConfChange || e.GetType() == raftpb.EntryConfChangeV2:
		next, err = a.change(next, e)
	case len(e.GetData()) > 0:
		began := time.Now()
		next, err = a.body(next, e)
		a.mu.Lock()
		a.sum.add(time.Since(began))
		a.mu.Unlock()
	}
	if err != nil {
		return err
	}
	a.advance(next)
	return nil
}

// advance publishes the mark and wakes those who waited for it.
func (a *applier) advance(next mark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark = next
	a.waiting = slices.DeleteFunc(a.waiting, func(w waiter) bool {
		if w.index <= next.index {
			close(w.done)
			return true
		}
		return false
	})
}

// body carries out an entry's body.
func (a *applier) body(next mark, e *raftpb.Entry) (mark, error) {
	rules, at, body, err := unstamp(e.GetData())
	if err != nil {
		return next, err
	}
	if knows := a.store.newest(); rules > knows {
		return next, tooOld(rules, knows)
	}
	next.time = max(next.time, at)
	b := pebblestore.Block{At: next.time}
	switch body[0] {
	case bodyTrim:
		if b.TrimBefore, err = decodeTrim(body); err != nil {
			return next, err
		}
		_, err := a.carryOut(&b, &next)
		return next, err
	case bodyNotes:
		return a.notes(next, &b, body)
	case bodyRules:
		return a.rules(next, &b, body)
	}
	of, err := decodeOrigin(body)
	if err != nil {
		return next, err
	}
	if !next.newer(of) {
		return next, nil
	}
	if a.requests, err = decodeRequests(body, a.requests[:0]); err != nil {
		return next, err
	}
	next.writers = withWriter(next.writers, of)
	b.Seed = xxhash.Sum64(body[:numberAt+8]) // the origin
	refused := inTerm(a.requests, e.GetTerm())
	b.Requests = refused.rest
	results, err := a.carryOut(&b, &next)
	if err != nil {
		return next, err
	}
	results = refused.merge(results)
	if who := a.store.log.who(); of.node == who.ID && of.incarnation == who.Incarnation {
		a.store.proposals.applied(of.number, slices.Clone(results))
	}
	clear(a.requests)
	clear(a.results)
	return next, nil
}

// notes carries out a body with notes.
func (a *applier) notes(next mark, b *pebblestore.Block, body []byte) (mark, error) {
	of, all, err := decodeNotes(body)
	if err != nil {
		return next, err
	}
	b.Notes = all
	if _, err := a.carryOut(b, &next); err != nil {
		return next, err
	}
	if who := a.store.log.who(); of.node == who.ID && of.incarnation == who.Incarnation {
		a.store.notes.applied(of.number)
	}
	return next, nil
}

// carryOut has the store carry out a block with the mark.
func (a *applier) carryOut(b *pebblestore.Block, next *mark) ([]eventstore.AppendResult, error) {
	b.Mark = next.encode()
	results, err := a.store.current().Apply(a.results[:0], b)
	if err != nil {
		return nil, err
	}
	a.results = results
	a.mu.Lock()
	a.saved = next.index
	a.mu.Unlock()
	return results, nil
}

// withWriter is the map with the origin of a newer block. The map that was before may be read by others.
func withWriter(writers map[uint64]origin, of origin) map[uint64]origin {
	changed := make(map[uint64]origin, len(writers)+1)
	for id, w := range writers {
		changed[id] = w
	}
	changed[of.node] = of
	return changed
}

// termed are requests without those that were judged in another term.
type termed struct {
	rest    []eventstore.AppendRequest
	refused []bool // by request; nil: none is
}

func inTerm(requests []eventstore.AppendRequest, term uint64) termed {
	other := func(r eventstore.AppendRequest) bool { return r.Term != 0 && r.Term != term }
	if !slices.ContainsFunc(requests, other) {
		return termed{rest: requests}
	}
	t := termed{refused: make([]bool, len(requests))}
	for i := range requests {
		if t.refused[i] = other(requests[i]); !t.refused[i] {
			t.rest = append(t.rest, requests[i])
		}
	}
	return t
}

// merge gives the results of all requests.
func (t termed) merge(results []eventstore.AppendResult) []eventstore.AppendResult {
	if t.refused == nil {
		return results
	}
	merged := make([]eventstore.AppendResult, len(t.refused))
	for i, refused := range t.refused {
		if refused {
			merged[i].Err = eventstore.ErrOtherTerm
			continue
		}
		merged[i], results = results[0], results[1:]
	}
	return merged
}

// changeContext is what a change of the members says beside what raft must know.
type changeContext struct {
	ID      uint64 `json:"id"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

// change carries out a change of the members.
func (a *applier) change(next mark, e *raftpb.Entry) (mark, error) {
	var v2 raftpb.ConfChangeV2
	if e.GetType() == raftpb.EntryConfChange {
		var v1 raftpb.ConfChange
		if err := proto.Unmarshal(e.GetData(), &v1); err != nil {
			return next, errEntry
		}
		v2 = raftpb.ConfChangeV2{Changes: v1.AsV2().GetChanges(), Context: v1.GetContext()}
	} else if err := proto.Unmarshal(e.GetData(), &v2); err != nil {
		return next, errEntry
	}
	next = next.clone()
	if len(v2.GetChanges()) > 0 {
		var c changeContext
		if err := json.Unmarshal(v2.GetContext(), &c); err != nil {
			return next, errEntry
		}
		if !next.allows(v2.GetChanges()[0], c) {
			return next, nil // raft takes a change as refused of which it hears nothing
		}
		next.change(v2.GetChanges()[0], c)
	}
	conf := make(chan *raftpb.ConfState, 1)
	a.store.engine.do(func(n *raft.RawNode) { conf <- n.ApplyConfChange(&v2) })
	select {
	case next.conf = <-conf:
	case <-a.store.engine.halt:
		return a.mark, nil
	}
	if _, err := a.carryOut(&pebblestore.Block{At: next.time}, &next); err != nil {
		return next, err
	}
	a.store.snapshots.outdate()
	return next, a.store.membersChanged(&next)
}

// allows says whether a change still makes sense: it was proposed without knowledge of the changes before it.
func (m *mark) allows(c *raftpb.ConfChangeSingle, with changeContext) bool {
	_, present := m.members[with.ID]
	switch c.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		_, taken := m.named(with.Name)
		return !present && !taken && !slices.Contains(m.removed, with.ID)
	case raftpb.ConfChangeAddNode:
		return present
	case raftpb.ConfChangeRemoveNode:
		return present && len(m.members) > 1
	}
	return false
}

// change notes a change. REQUIRES: the mark allows it, and shares nothing with another one.
func (m *mark) change(c *raftpb.ConfChangeSingle, with changeContext) {
	switch c.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		m.members[with.ID] = member{id: with.ID, name: with.Name, address: with.Address}
	case raftpb.ConfChangeRemoveNode:
		delete(m.members, with.ID)
		delete(m.writers, with.ID)
		m.removed = append(m.removed, with.ID)
	}
}

// save writes the mark where it is ahead of the store's. REQUIRES: the applier's goroutine calls it.
func (a *applier) save() error {
	if a.saved == a.mark.index {
		return nil
	}
	_, err := a.carryOut(&pebblestore.Block{At: a.mark.time}, &a.mark)
	return err
}

// at is the mark of the newest entry that was applied.
func (a *applier) at() mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mark
}

// reached gives a channel that is closed when an index is applied.
func (a *applier) reached(index uint64) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	done := make(chan struct{})
	if index <= a.mark.index {
		close(done)
	} else {
		a.waiting = append(a.waiting, waiter{index, done})
	}
	return done
}
