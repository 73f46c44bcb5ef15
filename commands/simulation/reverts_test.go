package simulation

import (
	"context"
	"fmt"
	"slices"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// revert is an operator's, who takes instances back to what they were at a position.
type revert struct {
	request   string // id
	actor     string
	together  bool // all or nothing
	reversals []commands.Reversal
	was       map[domain.Key]domain.Instance
	restored  bool // the log was restored since it began

	reply   chan revertReply // gets the one reply, which the world then takes; never closed
	over    bool
	results []commands.Result
}

type revertReply struct {
	results []commands.Result
	err     error
}

// reverting has an operator begin a revert with a plan, or carry out the plan that was made before: instances change in the meantime.
func (w *world) reverting() {
	if w.planned == nil {
		w.planned = w.planRevert()
		return
	}
	r, n := w.planned, pick(w, w.nodes)
	if !n.works() {
		return
	}
	w.planned = nil
	w.reverts[r.request] = r
	service := n.service
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer cancel()
		results, err := service.Revert(ctx, commands.Caller{Actor: r.actor, Via: "http", RequestID: r.request}, r.reversals, "mistake "+r.request, r.together)
		r.reply <- revertReply{results, err}
	}()
	synctest.Wait()
	w.takeReverts()
	w.tell("%s reverts by %s at %s, together: %v, %+v: %+v", r.actor, r.request, n.name, r.together, r.reversals, r.results)
}

// takeReverts takes the replies to reverts that have come by now.
func (w *world) takeReverts() {
	for _, r := range w.reverts {
		select {
		case reply := <-r.reply:
			r.over, r.results = reply.err == nil, reply.results // after an error the outcome is not known
		default:
		}
	}
}

// planRevert makes the plan of a revert: of some instances, to what they were some events ago. nil: nothing differs.
func (w *world) planRevert() *revert {
	if w.group != nil && len(w.group.stores) == 0 {
		return nil
	}
	r := &revert{
		request: fmt.Sprintf("v%d-%d", len(w.reverts), len(w.answers)), actor: fmt.Sprint("op", w.rng.IntN(3)), together: w.chance(2), was: map[domain.Key]domain.Instance{},
		reply: make(chan revertReply, 1),
	}
	for range 1 + w.rng.IntN(3) {
		key := pick(w, w.keys)
		states, ids := w.states(key)
		if _, planned := r.was[key]; planned || len(states) < 2 {
			continue
		}
		now := states[len(states)-1]
		was := states[max(len(states)-2-w.rng.IntN(6), 0)]
		steps, _ := domain.Revert(reverting(key, was, now, "mistake "+r.request))
		if len(steps) == 0 {
			continue
		}
		reversal := commands.Reversal{Key: key, Events: now.Events}
		for _, s := range steps {
			reversal.Steps = append(reversal.Steps, commands.ReversalStep{Command: s.Command, Reverts: ids[len(ids)-1].String()})
		}
		r.reversals, r.was[key] = append(r.reversals, reversal), was
	}
	if len(r.reversals) == 0 {
		return nil
	}
	return r
}

func reverting(key domain.Key, was, now domain.Instance, reason string) domain.Reverting {
	return domain.Reverting{Key: key, Was: was, Now: now, Kinds: domain.RevertKinds(), Reason: reason}
}

// states are the states of a key before its first event and after each, as the log has them now, and the events' ids.
func (w *world) states(key domain.Key) (states []domain.Instance, ids []uuid.UUID) {
	i := domain.Instance{Key: key}
	states = append(states, i)
	var store eventstore.Store = w.memory
	if w.group != nil {
		store = w.group.mostCurrent()
	}
	for e, err := range store.ReadStream(context.Background(), eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		i, _ = eventstore.Evolve(i, &e) // all events are ours
		states, ids = append(states, i), append(ids, e.ID)
	}
	return states, ids
}

// judgeRevertEvent holds an event against the revert that it says it comes from. before is the state that the event met.
func (w *world) judgeRevertEvent(e *recorded, r *revert, before domain.Instance) {
	key, _ := e.Stream.InstanceKey()
	at := slices.IndexFunc(r.reversals, func(one commands.Reversal) bool { return one.Key == key })
	switch {
	case at < 0:
		w.wrong(e, "the revert %s is of %+v", r.request, r.reversals)
		return
	case e.metadata.Actor != r.actor || e.metadata.Reverts == "":
		w.wrong(e, "the revert was by %s: %+v", r.actor, e.metadata)
	case before.Events < r.reversals[at].Events:
		w.wrong(e, "the plan saw %d events, there were %d", r.reversals[at].Events, before.Events)
	}
	if r.over && r.results[at].Err != nil {
		w.wrong(e, "the revert was refused: %v", r.results[at].Err)
	}
}

// judgeReverts: a revert that was answered took place right after what its plan saw, and left nothing to revert.
func (w *world) judgeReverts(lives map[domain.Key]*life) {
	for _, r := range w.reverts {
		if !r.over || r.restored {
			continue
		}
		refused := 0
		for i, one := range r.reversals {
			if r.results[i].Err != nil {
				refused++
				w.see("a revert is refused")
				continue
			}
			w.see("a revert is carried out")
			l, first := lives[one.Key], -1
			for n, e := range l.lifecycle {
				if e.metadata.RequestID == r.request && first < 0 {
					first = n
				}
			}
			if first < 0 || uint64(first) != one.Events {
				w.t.Errorf("revert %s of %s was planned after %d events, and carried out after %d", r.request, one.Key, one.Events, first)
				continue
			}
			after := l.state(one.Key, r.results[i].Position+1)
			if steps, _ := domain.Revert(reverting(one.Key, r.was[one.Key], after, "again")); len(steps) > 0 {
				w.t.Errorf("revert %s of %s to %+v left %+v, of which %+v is to be reverted", r.request, one.Key, r.was[one.Key], after, steps)
			}
		}
		if r.together && refused > 0 && refused < len(r.reversals) {
			w.t.Errorf("revert %s was to be carried out as a whole, and %d of %d instances were refused", r.request, refused, len(r.reversals))
		}
	}
}
