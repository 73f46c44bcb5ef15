package simulation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// recorded is an event of the log with what was really so.
type recorded struct {
	eventstore.RecordedEvent
	event    domain.Event
	metadata domain.Metadata
	begun    time.Time // when its append was asked for
	written  time.Time // when it was appended
}

// life is what the log says of one key.
type life struct {
	lifecycle []*recorded
	beats     []*recorded
	states    []domain.Instance // after each lifecycle event
}

// state is the key's state before a position.
func (l *life) state(key domain.Key, before eventstore.Position) domain.Instance {
	n, _ := slices.BinarySearchFunc(l.lifecycle, before, func(e *recorded, p eventstore.Position) int { return cmp.Compare(e.Position, p) })
	if n == 0 {
		return domain.Instance{Key: key}
	}
	return l.states[n-1]
}

// judge holds the log, and what clients were told, against what really happened.
func (w *world) judge() {
	lives := map[domain.Key]*life{}
	byPosition := map[eventstore.Position]*recorded{}
	var registry []*recorded
	for e, err := range w.memory.ReadAll(w.t.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		r := &recorded{RecordedEvent: e, begun: w.begun[e.Position], written: w.written[e.Position]}
		if r.event, err = eventstore.Decode(&e); err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal(e.Metadata, &r.metadata); err != nil {
			w.t.Fatal(err)
		}
		byPosition[e.Position] = r
		key, ok := e.Stream.InstanceKey()
		if !ok {
			registry = append(registry, r)
			continue
		}
		if lives[key] == nil {
			lives[key] = &life{}
		}
		if e.IsHeartbeat() {
			lives[key].beats = append(lives[key].beats, r)
		} else {
			lives[key].lifecycle = append(lives[key].lifecycle, r)
		}
	}
	byRequest := map[string]*answer{}
	for _, a := range w.answers {
		byRequest[a.request] = a
	}
	for key, l := range lives {
		w.judgeLife(key, l, byRequest)
		w.judgeHeld(key, l, registry)
	}
	for _, a := range w.answers {
		w.judgeAnswer(a, lives, byPosition)
	}
	w.judgeRegistry(registry)
	w.judgeEnd(lives)
}

func (w *world) wrong(e *recorded, format string, args ...any) {
	w.t.Errorf("position %d, %s of %s %+v: %s", e.Position, e.Type, e.Stream, e.event, fmt.Sprintf(format, args...))
}

// judgeLife holds each statement about a key against the state that the events before it add up to.
func (w *world) judgeLife(key domain.Key, l *life, byRequest map[string]*answer) {
	i := domain.Instance{Key: key}
	for _, e := range l.lifecycle {
		w.judgeCause(e, i, byRequest)
		switch event := e.event.(type) {
		case domain.InstanceRegistered:
			if event.Epoch != i.Epoch+1 {
				w.wrong(e, "the epoch before was %d", i.Epoch)
			}
			if replaces := map[bool]uint64{true: i.Epoch}[i.Live()]; event.Replaces != replaces {
				w.wrong(e, "it replaces %d", replaces)
			}
			if i.Live() && event.Owner == i.Owner {
				w.wrong(e, "the same owner's registration was live")
			}
			if !reflect.DeepEqual(event.Maintenance, i.Maintenance) {
				w.wrong(e, "the operator's decision was %+v", i.Maintenance)
			}
		case domain.InstanceUpdated:
			w.wantLive(e, i, event.Epoch)
			names := slices.Contains(event.Changed, "status")
			if names != (event.Status != i.Status) || names && event.PreviousStatus != i.Status {
				w.wrong(e, "the status was %s", i.Status)
			}
		case domain.HealthChanged:
			w.wantLive(e, i, event.Epoch)
			if event.From != i.Status || event.To == event.From {
				w.wrong(e, "the status was %s", i.Status)
			}
		case domain.TrafficChanged:
			if event.From != i.Traffic || event.To == event.From {
				w.wrong(e, "the traffic was %s", i.Traffic)
			}
			if !i.Live() && (i.Maintenance == nil || event.To != domain.Serving) {
				w.wrong(e, "nothing was live")
			}
		case domain.InstanceDeregistered:
			w.wantLive(e, i, event.Epoch)
		case domain.LeaseExpired:
			w.wantLive(e, i, event.Epoch)
			w.judgeExpiry(e, event, key, l)
		}
		i = domain.Evolve(i, e.event, eventstore.RecordOf(&e.RecordedEvent))
		l.states = append(l.states, i)
	}
}

func (w *world) wantLive(e *recorded, i domain.Instance, epoch uint64) {
	if !i.Live() || i.Epoch != epoch {
		w.wrong(e, "live: %v, epoch %d", i.Live(), i.Epoch)
	}
}

// judgeCause holds a lifecycle event against the command that it says it comes from. before is the state that the event
// met.
func (w *world) judgeCause(e *recorded, before domain.Instance, byRequest map[string]*answer) {
	if _, expired := e.event.(domain.LeaseExpired); expired {
		if e.metadata.Via != "expiry" {
			w.wrong(e, "it came by %s", e.metadata.Via)
		}
		return
	}
	a := byRequest[e.metadata.RequestID]
	if a == nil {
		w.wrong(e, "nobody sent request %q", e.metadata.RequestID)
		return
	}
	if !a.fits(before) {
		w.wrong(e, "the command %+v was for another registration than %+v", a.command, before)
	}
	if a.over && refused(a.result.Err) {
		w.wrong(e, "the command was refused: %v", a.result.Err)
	}
	if a.over && errors.Is(a.result.Err, eventstore.ErrDiskFull) {
		w.wrong(e, "the command was refused: %v", a.result.Err)
	}
	if a.by != nil && e.metadata.Actor != a.by.name {
		w.wrong(e, "%s did it", a.by.name)
	}
	says := true
	switch event := e.event.(type) {
	case domain.InstanceRegistered:
		command, ok := a.command.(domain.RegisterInstance)
		says = ok && event.Owner == command.Owner && event.Zone == command.Details.Zone && event.TTL == command.Details.TTL
	case domain.InstanceUpdated:
		command, ok := a.command.(domain.RegisterInstance)
		says = ok && event.Zone == command.Details.Zone && event.TTL == command.Details.TTL && (command.Details.Status == "" || event.Status == command.Details.Status)
	case domain.HealthChanged:
		command, ok := a.command.(domain.ReportHealth)
		says = ok && event.To == command.Status && event.Output == command.Output && event.Source == command.Source
	case domain.TrafficChanged:
		command, ok := a.command.(domain.ChangeTraffic)
		says = ok && event.To == command.Traffic && event.Reason == command.Reason
	case domain.InstanceDeregistered:
		command, ok := a.command.(domain.DeregisterInstance)
		says = ok && event.Reason == command.Reason && (command.Epoch == 0 || command.Epoch == event.Epoch)
	}
	if !says {
		w.wrong(e, "the command was %+v", a.command)
	}
}

// judgeExpiry: an instance is taken out only if it was silent for a whole ttl in which it could have been heard, when
// that was decided. A store that ties appends sees to it that it was not heard until the event was appended either.
func (w *world) judgeExpiry(e *recorded, expired domain.LeaseExpired, key domain.Key, l *life) {
	var last *recorded
	for _, renewal := range slices.Concat(l.beats, l.lifecycle) {
		if renewal.Position < e.Position && (!w.plan.untying || !renewal.written.After(e.begun)) && renews(renewal, expired.Epoch) && (last == nil || renewal.Position > last.Position) {
			last = renewal
		}
	}
	if last == nil {
		w.wrong(e, "the epoch has no registration")
		return
	}
	if !expired.LastHeartbeat.IsZero() && !expired.LastHeartbeat.Equal(last.RecordedAt) {
		w.wrong(e, "it was heard last at position %d, recorded at %s", last.Position, last.RecordedAt)
	}
	ttl := time.Duration(expired.TTL)
	if silent := e.begun.Sub(last.written); silent < ttl {
		w.wrong(e, "it was heard %s before, at position %d", silent, last.Position)
	}
	if w.plan.nodes > 1 {
		return // each node judges by its own reach: what another one refused it does not know
	}
	for _, a := range w.answers {
		if a.by == nil || a.command.Instance() != key || !renewsEpoch(a, expired.Epoch) {
			continue
		}
		if underWay := !a.over || a.told.After(e.begun); w.plan.untying && underWay && e.begun.Sub(a.sent) <= leases.MaxCommit+leases.Tick {
			continue // it lost a race, and was told so
		}
		if ago := e.begun.Sub(a.sent); ago >= 0 && ago < ttl && !(a.over && !a.told.After(e.begun) && refused(a.result.Err)) {
			w.wrong(e, "%s tried to renew it %s before by %s, which was answered with %+v", a.by.name, ago, a.request, a.result)
		}
	}
}

// renews says whether an event renews the lease of an epoch.
func renews(e *recorded, epoch uint64) bool {
	switch event := e.event.(type) {
	case domain.HeartbeatReceived:
		return event.Epoch == epoch
	case domain.InstanceRegistered:
		return event.Epoch == epoch
	case domain.InstanceUpdated:
		return event.Epoch == epoch
	}
	return false
}

// renewsEpoch says whether a command was an attempt to renew the lease of an epoch.
func renewsEpoch(a *answer, epoch uint64) bool {
	beat, ok := a.command.(domain.SendHeartbeat)
	return ok && beat.Epoch == epoch && (beat.Owner == "" || a.by.named)
}

// judgeAnswer: what a client was told is so, at the position that it was told.
func (w *world) judgeAnswer(a *answer, lives map[domain.Key]*life, byPosition map[eventstore.Position]*recorded) {
	if !a.over || a.result.Err != nil || a.restored {
		return
	}
	key := a.command.Instance()
	e := byPosition[a.result.Position]
	if e == nil {
		w.t.Errorf("%s %+v was answered with position %d, where nothing stands", a.request, a.command, a.result.Position)
		return
	}
	if of, _ := e.Stream.InstanceKey(); of != key {
		w.t.Errorf("%s %+v was answered with position %d, which is of %s", a.request, a.command, a.result.Position, e.Stream)
		return
	}
	state := lives[key].state(key, a.result.Position)
	if !a.fits(state) && !a.fits(lives[key].state(key, a.result.Position+1)) {
		w.t.Errorf("%s %+v was answered with position %d, though it was for another registration than %+v", a.request, a.command, a.result.Position, state)
	}
	switch a.command.(type) {
	case domain.SendHeartbeat:
		if event, ok := e.event.(domain.HeartbeatReceived); !ok || event.Epoch != a.result.Epoch || !state.Live() || state.Epoch != event.Epoch {
			w.t.Errorf("heartbeat %s was answered with epoch %d at position %d, where the instance is %+v", a.request, a.result.Epoch, a.result.Position, state)
		}
	case domain.DeregisterInstance:
		if _, ok := e.event.(domain.InstanceDeregistered); !ok {
			w.t.Errorf("deregistration %s was answered with position %d, which is a %s", a.request, a.result.Position, e.Type)
		}
	default:
		after := lives[key].state(key, a.result.Position+1)
		if after.Epoch != a.result.Epoch || !after.Live() && a.by != nil {
			w.t.Errorf("%s %+v was answered with epoch %d at position %d, where the instance is %+v", a.request, a.command, a.result.Epoch, a.result.Position, after)
		}
	}
}

// judgeInterruption: something really kept a node from its work when it says so. Its times are those of a clock that
// the world does not move, or of the recorded events, whose clock it does.
func (w *world) judgeInterruption(e *recorded, event domain.ListeningInterrupted) {
	if event.Cause == domain.DeafNotRunning {
		return // from the last recorded event on, by the wall clock
	}
	if !event.From.Before(event.To) || event.To.After(e.written) {
		w.wrong(e, "it was told at %s", e.written)
	}
	told := span{event.From, event.To}
	if !slices.ContainsFunc(w.bad, told.overlaps) {
		w.wrong(e, "nothing was wrong then")
	}
}

// judgeEnd: those who fell silent are gone in the end, and every node's catalog is what the log adds up to.
func (w *world) judgeEnd(lives map[domain.Key]*life) {
	for key, l := range lives {
		state := l.state(key, ^eventstore.Position(0))
		if state.Live() {
			w.t.Errorf("%s is live in the end, though nobody renews it", key)
		}
		for _, n := range w.nodes {
			if entry := n.live.Catalog().Find(key); (entry != nil) != state.Live() {
				w.t.Errorf("%s is in the catalog of node %s: %v, in the log: %v", key, n.name, entry != nil, state.Live())
			}
		}
	}
}
