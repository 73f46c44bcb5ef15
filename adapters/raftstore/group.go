package raftstore

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// group is blocks that follow each other in the log. They are carried out together: the nodes of a cluster make blocks at the
// same time, and blocks that are carried out together cost little more than one.
//
// INVARIANT: what a block changes does not depend on the group in which it is carried out. The groups of two nodes differ.
type group struct {
	next     mark // of the newest entry of the group; the store's mark if the group is empty
	own      bool // next.writers belongs to the group alone
	members  []grouped
	requests []eventstore.AppendRequest // of all blocks; a buffer
	events   []eventstore.EventData     // of the requests; a buffer
	blocks   []*pebblestore.Block       // those of members; a buffer
}

// grouped is a block of a group.
type grouped struct {
	block   pebblestore.Block
	index   uint64 // of the entry
	of      origin
	refused termed
}

// maxGroup is how many blocks are carried out together at most.
const maxGroup = 64

// begin makes the group an empty one behind a mark.
func (g *group) begin(at mark) {
	clear(g.requests)
	clear(g.events)
	clear(g.members)
	clear(g.blocks)
	g.next, g.own, g.members, g.requests, g.events, g.blocks = at, false, g.members[:0], g.requests[:0], g.events[:0], g.blocks[:0]
}

// gather puts an entry into the group, if it is a block, or says nothing (the first of a term).
func (a *applier) gather(e *raftpb.Entry) (taken bool, err error) {
	g := &a.group
	switch {
	case e.GetType() != raftpb.EntryNormal:
		return false, nil
	case len(e.GetData()) == 0:
		g.next.index, g.next.term = e.GetIndex(), e.GetTerm()
		return true, nil
	}
	at, body, err := a.unstamp(e)
	if err != nil || body[0] != bodyBlock {
		return false, err
	}
	if len(g.members) == maxGroup {
		if err := a.finish(); err != nil {
			return false, err
		}
	}
	g.next.index, g.next.term, g.next.time = e.GetIndex(), e.GetTerm(), max(g.next.time, at)
	of, err := decodeOrigin(body)
	if err != nil || !g.next.newer(of) {
		return true, err
	}
	before := len(g.requests)
	if g.requests, err = decodeRequests(body, g.requests, &g.events); err != nil {
		return true, err
	}
	g.wrote(of)
	refused := inTerm(g.requests[before:], e.GetTerm())
	g.members = append(g.members, grouped{
		block: pebblestore.Block{
			At:       g.next.time,
			Seed:     xxhash.Sum64(body[:originSize]), // the origin
			Requests: refused.rest,
			Mark:     g.next.encode(),
		},
		index: e.GetIndex(), of: of, refused: refused,
	})
	return true, nil
}

// wrote notes the newest block of a node. The map that was before may be read by others.
func (g *group) wrote(of origin) {
	if !g.own {
		writers := make(map[uint64]origin, len(g.next.writers)+1)
		for id, w := range g.next.writers {
			writers[id] = w
		}
		g.next.writers, g.own = writers, true
	}
	g.next.writers[of.node] = of
}

// finish carries out the blocks of the group, answers the calls of this node, publishes the mark, and begins the next group.
func (a *applier) finish() error {
	g := &a.group
	if len(g.members) > 0 {
		began := time.Now()
		for i := range g.members {
			g.blocks = append(g.blocks, &g.members[i].block)
		}
		results, err := a.apply(g.members[len(g.members)-1].index, g.blocks...)
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.sum.Count, a.sum.Sum = a.sum.Count+uint64(len(g.members)), a.sum.Sum+time.Since(began)
		a.mu.Unlock()
		who := a.store.log.who()
		for i := range g.members {
			m := &g.members[i]
			n := len(m.block.Requests)
			if m.of.node == who.ID && m.of.incarnation == who.Incarnation {
				a.store.proposals.applied(m.of.number, slices.Clone(m.refused.merge(results[:n])))
			}
			results = results[n:]
		}
		clear(a.results)
	}
	if g.next.index > a.mark.index {
		a.advance(g.next)
	}
	g.begin(a.mark)
	return nil
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
