package raftstore

import (
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

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

	group   group // only the applier's goroutine uses it
	results []eventstore.AppendResult
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
		for tasks := e.apply.take(); len(tasks) > 0; {
			if e.halted() {
				return
			}
			if tasks[0].do != nil {
				tasks[0].do()
				tasks = tasks[1:]
				continue
			}
			n, entries := 0, []*raftpb.Entry(nil)
			for ; n < len(tasks) && tasks[n].do == nil; n++ {
				entries = append(entries, tasks[n].message.GetEntries()...)
			}
			if err := e.store.applier.entries(entries); err != nil {
				e.store.fail(err)
				return
			}
			for _, task := range tasks[:n] {
				e.applied(task.message.GetResponses())
			}
			tasks = tasks[n:]
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

// entries applies entries, in order.
func (a *applier) entries(all []*raftpb.Entry) error {
	a.group.begin(a.mark)
	for _, e := range all {
		if e.GetIndex() <= a.group.next.index {
			continue
		}
		taken, err := a.gather(e)
		if err == nil && !taken {
			if err = a.finish(); err == nil {
				err = a.single(e)
				a.group.begin(a.mark)
			}
		}
		if err != nil {
			return fmt.Errorf("apply entry %d: %w", e.GetIndex(), err)
		}
	}
	return a.finish()
}

// single applies one entry that is no block.
func (a *applier) single(e *raftpb.Entry) error {
	next := a.mark
	next.index, next.term = e.GetIndex(), e.GetTerm()
	var err error
	if e.GetType() == raftpb.EntryConfChange || e.GetType() == raftpb.EntryConfChangeV2 {
		next, err = a.change(next, e)
	} else {
		next, err = a.body(next, e)
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

// body carries out the body of an entry that is no block.
func (a *applier) body(next mark, e *raftpb.Entry) (mark, error) {
	at, body, err := a.unstamp(e)
	if err != nil {
		return next, err
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
	return next, errEntry
}

// unstamp gives the time and the body of an entry, if this node knows the entry's rules.
func (a *applier) unstamp(e *raftpb.Entry) (at int64, body []byte, err error) {
	rules, at, body, err := unstamp(e.GetData())
	if err != nil {
		return 0, nil, err
	}
	if knows := a.store.newest(); rules > knows {
		return 0, nil, tooOld(rules, knows)
	}
	return at, body, nil
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
	return a.apply(next.index, b)
}

// apply has the store carry out blocks, of which the mark of the last one is at an index.
func (a *applier) apply(index uint64, blocks ...*pebblestore.Block) ([]eventstore.AppendResult, error) {
	results, err := a.store.current().Apply(a.results[:0], blocks...)
	if err != nil {
		return nil, err
	}
	a.results = results
	a.mu.Lock()
	a.saved = index
	a.mu.Unlock()
	return results, nil
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
