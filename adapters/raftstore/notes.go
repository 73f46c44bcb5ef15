package raftstore

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// notes are small values that the leader keeps beside the events, on all nodes. They go through the log, so a node that
// leads has all notes of earlier terms.
type notes struct {
	turn sync.Mutex // held by the call under way

	mu     sync.Mutex
	number uint64        // of the newest call
	done   chan struct{} // closed when that call is applied
}

// Note keeps notes, or removes those without a value, all of them or none. The term is the one in which the caller leads
// (Leads): in any other term Note gives eventstore.ErrOtherTerm, and what became of the notes is not known. It returns when
// a majority of the nodes has them.
func (s *Store) Note(ctx context.Context, term uint64, all []pebblestore.Note) error {
	if err := s.Err(); err != nil {
		return err
	}
	s.notes.turn.Lock()
	defer s.notes.turn.Unlock()
	body, done := s.notes.begin(s.log.who(), all)
	if len(body) > maxCall {
		return eventstore.ErrTooLarge
	}
	again := time.NewTicker(max(2*electionTicks*s.tick(), minResend)) // raft may drop a proposal
	defer again.Stop()
	look := time.NewTicker(s.tick())
	defer look.Stop()
	s.proposeNotes(term, body)
	for {
		select {
		case <-done:
			return nil
		case <-again.C:
			s.proposeNotes(term, body)
		case <-look.C:
			if v := s.engine.view.Load(); v.role != raft.StateLeader || v.term != term {
				return eventstore.ErrOtherTerm
			}
		case <-s.failed:
			return s.Err()
		case <-s.closing:
			return eventstore.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// proposeNotes has raft append notes, in one term only.
//
// INVARIANT: raft appends a proposal at once, in its present term, or never. So notes of an earlier call, or of an earlier
// term, never take the place of newer ones.
func (s *Store) proposeNotes(term uint64, body []byte) {
	s.engine.do(func(n *raft.RawNode) {
		if status := n.BasicStatus(); status.RaftState == raft.StateLeader && status.GetTerm() == term {
			_ = n.Propose(stamp(unstamped(body), s.applier.at().rules, s.current().Stamp())) // it is proposed again
		}
	})
}

// begin numbers a call.
func (c *notes) begin(who identity, all []pebblestore.Note) (body []byte, done <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.done = make(chan struct{})
	return encodeNotes(origin{who.ID, who.Incarnation, c.number}, all), c.done
}

// applied tells the call under way that its notes are kept.
func (c *notes) applied(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number == c.number && c.done != nil {
		close(c.done)
		c.done = nil // the notes may be applied twice
	}
}

// Notes are this node's notes whose names begin with a prefix. A node that leads has all notes.
func (s *Store) Notes(ctx context.Context, prefix string) ([]pebblestore.Note, error) {
	for {
		g := s.generation.Load()
		if g == nil {
			return nil, s.notReady()
		}
		found, err := g.Notes(prefix)
		if !s.replacing(ctx, nil, g, err) {
			return found, err
		}
	}
}

// encodeNotes writes the body of an entry.
func encodeNotes(of origin, all []pebblestore.Note) []byte {
	b := appendOrigin(nil, of)
	b[0] = bodyNotes
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, n := range all {
		b = packed.AppendBytes(packed.AppendBytes(b, []byte(n.Name)), n.Value)
	}
	return b
}

func decodeNotes(body []byte) (of origin, all []pebblestore.Note, err error) {
	r := reader{Reader: packed.Reader{B: body[1:]}}
	of = origin{node: r.uint64(), incarnation: r.uint64(), number: r.uint64()}
	for range r.count() {
		all = append(all, pebblestore.Note{Name: string(r.Bytes()), Value: r.Bytes()})
	}
	return of, all, r.end()
}
