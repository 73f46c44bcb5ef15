package history

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Evidence is what a log is compared with.
type Evidence struct {
	// Leaves yields the hashes of the tree's leaves, in order; nil: there are none.
	Leaves iter.Seq2[tlog.Hash, error]
	// Checkpoint is a checkpoint of the log that was kept elsewhere; nil: there is none.
	Checkpoint *Checkpoint
	// Concealed says that events may lack their secrets, because the verifier may not see them. Such an event counts with the hash
	// of its leaf.
	Concealed bool
}

// Verdict is the result of a verification.
type Verdict struct {
	Events int64     // in the log
	Leaves int64     // in the tree
	Root   tlog.Hash // over all events
	Hidden int64     // events that lack their secrets, and count with the hash of their leaf
	// Fault says what is wrong, "" if nothing is.
	Fault string
	// First is the first event that was changed; nil: none was, or it cannot be told which.
	First *eventstore.RecordedEvent
	// Left says where the log left the checkpoint's timeline, before the checkpoint was made; nil: it did not.
	Left *Left
}

// Left is where a log left a checkpoint's timeline, according to the log.
type Left struct {
	domain.TimelineBegan
	RecordedAt time.Time
	Shared     int64 // number of events that both timelines have
}

// Verify computes the tree over the audited events anew and compares it with the evidence. progress is told the number of
// events that were read; nil: nobody is told.
//
// The leaves tell which event differs, but only where the checkpoint, which is signed and kept elsewhere, confirms the
// leaves. Someone who can change events can change leaves, too, but cannot give changed leaves the root of the checkpoint.
func Verify(events iter.Seq2[eventstore.RecordedEvent, error], evidence Evidence, progress func(events int64)) (Verdict, error) {
	v := Verdict{}
	next, stop := func() (tlog.Hash, error, bool) { return tlog.Hash{}, nil, false }, func() {}
	if evidence.Leaves != nil {
		next, stop = iter.Pull2(evidence.Leaves)
	}
	defer stop()
	var log, tree frontier
	var canonical []byte
	var rootThen, treeThen tlog.Hash // when the checkpoint was made
	then := int64(-1)
	if evidence.Checkpoint != nil {
		then = evidence.Checkpoint.Size
	}
	more := evidence.Leaves != nil
	leaf := func() (h tlog.Hash, ok bool, err error) {
		if more {
			if h, err, more = next(); err != nil || !more {
				return h, false, err
			}
			tree.add(h)
			if tree.size == then {
				treeThen = tree.root()
			}
		}
		return h, more, nil
	}
	if then == 0 {
		rootThen, treeThen = log.root(), tree.root()
	}
	for e, err := range events {
		if err != nil {
			return v, err
		}
		canonical = eventstore.AppendCanonical(canonical[:0], &e)
		hash := tlog.RecordHash(canonical)
		if v.Left == nil && e.Type == domain.TypeTimelineBegan && evidence.Checkpoint != nil && log.size < then {
			v.Left = leaves(evidence.Checkpoint.Timeline, &e, log.size)
		}
		want, ok, err := leaf()
		if err != nil {
			return v, err
		}
		if ok && want != hash && evidence.Concealed && concealed(&e) {
			hash = want
			v.Hidden++
		}
		log.add(hash)
		if log.size == then {
			rootThen = log.root()
		}
		if ok && want != hash && v.First == nil {
			first := e
			v.First = &first
		}
		if progress != nil && log.size%10_000 == 0 {
			progress(log.size)
		}
	}
	for more { // leaves without an event
		if _, _, err := leaf(); err != nil {
			return v, err
		}
	}
	v.Events, v.Leaves, v.Root = log.size, tree.size, log.root()
	v.judge(evidence.Checkpoint, rootThen, treeThen)
	return v, nil
}

func concealed(e *eventstore.RecordedEvent) bool {
	event, err := eventstore.Decode(e)
	return err == nil && domain.IsConcealed(event)
}

func (v *Verdict) judge(c *Checkpoint, rootThen, treeThen tlog.Hash) {
	switch {
	case v.Left != nil:
		v.Fault = v.Left.fault(c)
	case c != nil && v.Events < c.Size:
		v.Fault = fmt.Sprintf("%d events are missing: the checkpoint has %d, the log %d", c.Size-v.Events, c.Size, v.Events)
	case c != nil && rootThen != c.Root && treeThen == c.Root:
		v.Fault = "the log is not what the checkpoint says, the tree is"
	case c != nil && rootThen != c.Root && v.First != nil:
		v.Fault = "the log is not what the checkpoint says; the tree is not either, so an earlier event may differ, too"
	case c != nil && rootThen != c.Root:
		v.Fault = "the log is not what the checkpoint says, and the tree was changed with it, so it cannot be told which event differs"
	case v.First != nil:
		v.Fault = "the log and its tree differ"
	case v.Leaves > v.Events:
		v.Fault = fmt.Sprintf("%d events are missing: the tree has %d leaves, the log %d events", v.Leaves-v.Events, v.Leaves, v.Events)
	}
}

// leaves gives where the log left a timeline, if the event says that it did; behind is the number of events before it.
func leaves(timeline string, e *eventstore.RecordedEvent, behind int64) *Left {
	event, err := eventstore.Decode(e)
	began, ok := event.(domain.TimelineBegan)
	if err != nil || !ok || began.Parent != timeline {
		return nil
	}
	return &Left{TimelineBegan: began, RecordedAt: e.RecordedAt, Shared: behind}
}

// fault describes a restore, which is no change of events. This checkpoint does not prove the events before the fork. A
// checkpoint that was made before the fork does.
func (l *Left) fault(c *Checkpoint) string {
	why := "a backup was restored"
	if l.Reason == domain.TailLost {
		why = "the log lost its end"
	}
	return fmt.Sprintf("the checkpoint is of a future that this log does not have: %s, and at %s the log went on after position %d as timeline %s, "+
		"so %d of the checkpoint's %d events are not in it; a checkpoint of at most %d events proves what is before the fork",
		why, l.RecordedAt.Format(time.RFC3339), l.After, l.Timeline, c.Size-l.Shared, c.Size, l.Shared)
}

// frontier is a growing Merkle tree (RFC 6962). It keeps only the roots of its full subtrees, the largest first.
type frontier struct {
	size     int64
	subtrees []tlog.Hash
}

func (f *frontier) add(leaf tlog.Hash) {
	f.size++
	h := leaf
	for range bits.TrailingZeros64(uint64(f.size)) {
		n := len(f.subtrees) - 1
		h = tlog.NodeHash(f.subtrees[n], h)
		f.subtrees = f.subtrees[:n]
	}
	f.subtrees = append(f.subtrees, h)
}

func (f *frontier) root() tlog.Hash {
	n := len(f.subtrees)
	if n == 0 {
		root, err := tlog.TreeHash(0, tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, errors.New("no hash is needed") }))
		if err != nil {
			panic(err) // the root of the empty tree needs no hash
		}
		return root
	}
	h := f.subtrees[n-1]
	for i := n - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.subtrees[i], h)
	}
	return h
}

// AllLeaves yields the tree's leaves in order.
func (h *History) AllLeaves() iter.Seq2[tlog.Hash, error] {
	return func(yield func(tlog.Hash, error) bool) {
		const page = 4096
		for from := int64(0); from < h.Leaves(); from += page {
			hashes, err := h.LeafHashes(from, min(from+page, h.Leaves()))
			if err != nil {
				yield(tlog.Hash{}, err)
				return
			}
			for _, hash := range hashes {
				if !yield(hash, nil) {
					return
				}
			}
		}
	}
}
