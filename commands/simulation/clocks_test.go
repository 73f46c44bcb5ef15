package simulation

import (
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// clockStep is how far the wall clock was off from a moment on.
type clockStep struct {
	at       time.Time
	off      time.Duration
	furthest time.Duration // of any node's clock
}

// setClock has somebody set the wall clock: of the machine, or of one node of a cluster. Now and then the step is only a slip, which is
// soon put right. What a process measures goes on by its monotonic clock.
func (w *world) setClock() {
	by := time.Duration(w.rng.IntN(7200)-3600) * time.Second
	if w.chance(5) {
		by *= 24
	}
	if w.group != nil && w.chance(2) {
		name := pick(w, w.group.names)
		w.group.skews[name].Add(int64(by))
		w.noteClocks()
		w.see("the clock of one node of a cluster steps")
		w.tell("the wall clock of node %s is off by %s more", name, by)
		return
	}
	if w.wall.Load() != 0 && w.chance(2) {
		by = -time.Duration(w.wall.Load())
		w.see("a wrong clock is put right")
	}
	w.wall.Add(int64(by))
	w.noteClocks()
	w.see("the wall clock steps")
	w.tell("the wall clock is off by %s", time.Duration(w.wall.Load()))
}

// noteClocks notes how far the wall clocks are off from now on.
func (w *world) noteClocks() {
	step := clockStep{at: time.Now(), off: time.Duration(w.wall.Load())}
	step.furthest = step.off
	if w.group != nil {
		for _, skew := range w.group.skews {
			step.furthest = max(step.furthest, step.off+time.Duration(skew.Load()))
		}
	}
	w.steps = append(w.steps, step)
}

// off is how far the wall clock was off at a moment.
func (w *world) off(at time.Time) (off time.Duration) {
	for _, s := range w.steps {
		if !s.at.After(at) {
			off = s.off
		}
	}
	return off
}

// stepped says whether a wall clock was set between two moments.
func (w *world) stepped(from, to time.Time) bool {
	return slices.ContainsFunc(w.steps, func(s clockStep) bool { return !s.at.Before(from) && !s.at.After(to) })
}

// recorded is the clock of a node's store.
func (w *world) recorded(n *node) func() time.Time {
	if w.group != nil {
		return w.group.stores[n.name].Now
	}
	return w.memory.Now
}

// judgeTimes: no event was recorded further ahead than a wall clock ever was.
func (w *world) judgeTimes(events map[eventstore.Position]*recorded) {
	furthest := time.Duration(0)
	for _, s := range w.steps {
		furthest = max(furthest, s.furthest)
	}
	for _, e := range events {
		if ahead := e.RecordedAt.Sub(e.written); ahead > furthest+time.Second {
			w.wrong(e, "it was recorded at %s, which was %s ahead; no clock was further ahead than %s", e.RecordedAt, ahead, furthest)
		}
	}
}

// judgeInterruption: something really kept a node from its work when it says so, and it was over when it was told. Its times are those
// in which the log was recorded then.
func (w *world) judgeInterruption(e *recorded, event domain.ListeningInterrupted) {
	if !event.From.Before(event.To) || event.To.After(e.RecordedAt) && !w.stepped(e.begun, e.written) {
		w.wrong(e, "it was recorded at %s", e.RecordedAt)
	}
	if event.Cause == domain.DeafNotRunning || w.group != nil {
		return // from the last recorded event on; by the clock of one of several nodes
	}
	off := w.off(e.begun)
	if w.stepped(e.begun.Add(-time.Second), e.written) { // while it was told
		return
	}
	told := span{event.From.Add(-off), event.To.Add(-off)}
	if !slices.ContainsFunc(w.bad, told.overlaps) {
		w.wrong(e, "nothing was wrong then")
	}
	w.see("an interruption is told")
}
