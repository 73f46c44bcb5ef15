package simulation

import (
	"context"
	"fmt"
	"maps"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// decision is an operator's, of self-preservation.
type decision struct {
	namespace string // "": every one
	hold      bool
	actor     string
}

// decide has an operator hold expiry, or end that. The reason that the log is given tells the decisions apart.
func (w *world) decide(n *node, d decision) {
	reason := fmt.Sprint("d", len(w.decisions))
	w.decisions[reason] = d
	preservation := &commands.Preservation{Store: commands.ReportAppends(n.store, n.listening), Projections: n.live}
	change := preservation.End
	if d.hold {
		change = preservation.Hold
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer cancel()
		_ = change(ctx, commands.Caller{Actor: d.actor, Via: "http"}, d.namespace, reason) // what became of it, the log says
	}()
	synctest.Wait()
	w.tell("%s decides %+v at node %s", d.actor, d, n.name)
}

// hold is whether expiry is held.
type hold struct{ on, forced bool }

// holds is what the log says of self-preservation.
type holds struct {
	all hold
	own map[string]hold
}

func (h *holds) of(namespace string) hold {
	if own, ok := h.own[namespace]; ok {
		return own
	}
	return h.all
}

func (h *holds) anywhere() bool {
	for _, own := range h.own {
		if own.on {
			return true
		}
	}
	return h.all.on
}

func (h *holds) set(namespace string, next hold) {
	if namespace == "" {
		h.all, h.own = next, nil
		return
	}
	h.own = maps.Clone(h.own)
	if h.own == nil {
		h.own = map[string]hold{}
	}
	h.own[namespace] = next
}

// judgeRegistry holds what the registry says of itself against what really happened. What it decides by itself of a
// namespace changes once a minute at most.
func (w *world) judgeRegistry(events []*recorded) {
	var h holds
	changed := map[string]*recorded{} // when the registry itself last started or ended it
	itself := func(e *recorded, namespace string) {
		if e.metadata.Via != "expiry" {
			w.wrong(e, "%s did it", e.metadata.Via)
		}
		// A node that starts knows from the log alone how long ago that was, and the log's clock may have stepped.
		if last := changed[namespace]; last != nil {
			ago, told := e.written.Sub(last.written), e.RecordedAt.Sub(last.RecordedAt)
			if ago < leases.ChangeEvery-leases.Tick && (ago-told).Abs() < time.Second {
				w.wrong(e, "it changed %s before", ago)
			}
		}
		changed[namespace] = e
	}
	operator := func(e *recorded, namespace, reason string, held bool) {
		if d, ok := w.decisions[reason]; !ok || d != (decision{namespace, held, e.metadata.Actor}) {
			w.wrong(e, "the operator decided %+v", d)
		}
	}
	for _, e := range events {
		switch event := e.event.(type) {
		case domain.SelfPreservationStarted:
			was := h.of(event.Namespace)
			if was.on && (was.forced || !event.Forced) {
				w.wrong(e, "it was so already")
			}
			if event.Forced {
				operator(e, event.Namespace, event.Reason, true)
				w.see("an operator held expiry")
			} else {
				itself(e, event.Namespace)
				w.see("self-preservation started")
			}
			if !event.Forced && !w.plan.preserve {
				w.wrong(e, "it is off")
			}
			h.set(event.Namespace, hold{true, event.Forced})
		case domain.SelfPreservationEnded:
			was := h.of(event.Namespace)
			if !was.on && (event.Namespace != "" || !h.anywhere()) {
				w.wrong(e, "it was so already")
			}
			if event.Cause == domain.EndedByOperator {
				operator(e, event.Namespace, event.Reason, false)
				w.see("an operator ended self-preservation")
			} else {
				itself(e, event.Namespace)
				w.see("self-preservation ended by itself")
			}
			if event.Cause != domain.EndedByOperator && was.forced {
				w.wrong(e, "an operator held it")
			}
			h.set(event.Namespace, hold{})
		case domain.ListeningInterrupted:
			w.judgeInterruption(e, event)
		}
	}
}

// reachesLate is how much later than it is written a node may learn of an event on which it decides.
const reachesLate = patience + time.Second

// judgeHeld: nobody is taken out for silence while expiry is held.
func (w *world) judgeHeld(key domain.Key, l *life, registry []*recorded) {
	for _, e := range l.lifecycle {
		if !byRegistry(e.event) {
			continue
		}
		var h holds
		held, since := hold{}, time.Time{}
		for _, r := range registry {
			if r.Position >= e.Position {
				break
			}
			switch event := r.event.(type) {
			case domain.SelfPreservationStarted:
				h.set(event.Namespace, hold{true, event.Forced})
			case domain.SelfPreservationEnded:
				h.set(event.Namespace, hold{})
			default:
				continue
			}
			if now := h.of(key.Namespace); now.on != held.on {
				held, since = now, r.written
			}
		}
		if held.on && e.begun.Sub(since) > reachesLate {
			w.wrong(e, "expiry was held since %s before", e.begun.Sub(since))
		}
	}
}

// state is a key's state as the log has it now.
func (w *world) state(key domain.Key) domain.Instance {
	states, _ := w.states(key)
	return states[len(states)-1]
}
