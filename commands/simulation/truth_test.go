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
	for _, e := range w.log {
		var err error
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
	w.judgeReverts(lives)
	w.judgeTimes(byPosition)
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
			if event.From != i.Status || event.To == event.From && len(i.Checks) == 0 && i.Lapsed.IsZero() && !event.Lapsed {
				w.wrong(e, "the status was %s", i.Status)
			}
			if event.Lapsed {
				w.see("a lease lapses to critical")
				w.judgeSilence(e, silence{event.Epoch, "", event.LastHeard, time.Duration(event.TTL)}, key, l)
			}
		case domain.CheckChanged:
			w.wantLive(e, i, event.Epoch)
			w.judgeCheck(e, event, i, key, l)
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
			if event.CriticalSince.IsZero() {
				w.judgeSilence(e, silence{event.Epoch, "", event.LastHeard, time.Duration(event.TTL)}, key, l)
			} else {
				w.judgeRemoval(e, event, i, l)
			}
		}
		before := i
		i = domain.Evolve(i, e.event, eventstore.RecordOf(&e.RecordedEvent))
		w.judgeStatus(e, before, i)
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
	if byRegistry(e.event) {
		if e.metadata.Via != "expiry" {
			w.wrong(e, "it came by %s", e.metadata.Via)
		}
		return
	}
	if changed, ok := e.event.(domain.HealthChanged); ok && changed.Source == domain.FromLease && e.metadata.RequestID == "" {
		w.judgeUnnamed(e)
		return
	}
	if r := w.reverts[e.metadata.RequestID]; r != nil {
		w.judgeRevertEvent(e, r, before)
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
		says = ok && event.Zone == command.Details.Zone && event.TTL == command.Details.TTL && (command.Details.Status == "" || cmp.Or(event.Reported, event.Status) == command.Details.Status)
	case domain.HealthChanged:
		if event.Source == domain.FromLease {
			_, beat := a.command.(domain.SendHeartbeat)
			_, registers := a.command.(domain.RegisterInstance)
			says = beat || registers
			w.see("a heartbeat gives back a status")
			break
		}
		command, ok := a.command.(domain.ReportHealth)
		says = ok && cmp.Or(event.Reported, event.To) == command.Status && event.Output == command.Output && event.Source == command.Source
	case domain.CheckChanged:
		command, ok := a.command.(domain.ReportCheck)
		says = ok && event.Cause == domain.CheckReported && event.To == command.Status && event.Check == command.Check
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

// judgeUnnamed holds a return from a lapse against the heartbeats in batches, which name no request.
func (w *world) judgeUnnamed(e *recorded) {
	w.see("a heartbeat gives back a status")
	key, _ := e.Stream.InstanceKey()
	if !slices.ContainsFunc(w.answers, func(a *answer) bool {
		_, beat := a.command.(domain.SendHeartbeat)
		return beat && a.command.Instance() == key && !a.sent.After(e.written)
	}) {
		w.wrong(e, "nobody sent a heartbeat")
	}
}

// byRegistry says whether an event comes from the registry itself, not from a command of anyone.
func byRegistry(event domain.Event) bool {
	switch e := event.(type) {
	case domain.LeaseExpired:
		return true
	case domain.HealthChanged:
		return e.Lapsed
	case domain.CheckChanged:
		return e.Cause == domain.CheckLapsed
	}
	return false
}

// silence is what the log says of a lease, or of a ttl check, that lapsed.
type silence struct {
	epoch uint64
	check string // "": the lease
	last  domain.LastHeard
	ttl   time.Duration
}

// judgeSilence: a lease, or a check, lapses only if it was silent for a whole ttl in which it could have been heard, when that
// was decided. A store that ties appends sees to it that it was not heard until the event was appended either.
func (w *world) judgeSilence(e *recorded, of silence, key domain.Key, l *life) {
	var last *recorded
	said, byHeartbeat := of.said()
	came := said.IsZero() // what the event says to have been heard
	for _, renewal := range slices.Concat(l.beats, l.lifecycle) {
		if renewal.Position < e.Position && (!w.plan.untying || !renewal.written.After(e.begun)) && of.renewedBy(renewal, l, key) {
			if last == nil || renewal.Position > last.Position {
				last = renewal
			}
			came = came || renewal.RecordedAt.Equal(said) && byHeartbeat == isHeartbeat(renewal.event)
		}
	}
	if last == nil {
		w.wrong(e, "nothing began what lapsed")
		return
	}
	if !said.IsZero() && !said.Equal(last.RecordedAt) || !came || !said.IsZero() && !byHeartbeat && isHeartbeat(last.event) {
		w.wrong(e, "it was heard last at position %d, recorded at %s: %+v", last.Position, last.RecordedAt, last.event)
	}
	if silent := e.begun.Sub(last.written); silent < of.ttl {
		w.wrong(e, "it was heard %s before, at position %d", silent, last.Position)
	}
	if w.plan.nodes > 1 {
		return // each node judges by its own reach: what another one refused it does not know
	}
	for _, a := range w.answers {
		if a.by == nil || a.command.Instance() != key || !of.attemptedBy(a) {
			continue
		}
		if underWay := !a.over || a.told.After(e.begun); w.plan.untying && underWay && e.begun.Sub(a.sent) <= leases.MaxCommit+leases.Tick {
			continue // it lost a race, and was told so
		}
		if after := a.over && a.result.Err == nil && a.result.Position > e.Position; after && a.sent.Equal(e.begun) {
			continue // it came after the lapse in the same instant, and ended it
		}
		if ago := e.begun.Sub(a.sent); ago >= 0 && ago < of.ttl && !(a.over && !a.told.After(e.begun) && refused(a.result.Err)) {
			w.wrong(e, "%s tried to renew it %s before by %s, which was answered with %+v", a.by.name, ago, a.request, a.result)
		}
	}
}

// said is the time that the event names, and whether the event calls what happened then a heartbeat or a report.
func (s silence) said() (at time.Time, byHeartbeat bool) {
	if !s.last.LastHeartbeat.IsZero() {
		return s.last.LastHeartbeat, true
	}
	return s.last.LastRegistered, false
}

// isHeartbeat says whether an event that renewed a lease or a check was a heartbeat or a report.
func isHeartbeat(event domain.Event) bool {
	switch e := event.(type) {
	case domain.HeartbeatReceived, domain.HealthChanged:
		return true
	case domain.CheckChanged:
		return e.Cause == domain.CheckReported
	}
	return false
}

// renewedBy says whether an event renews what lapsed, or begins it.
func (s silence) renewedBy(e *recorded, l *life, key domain.Key) bool {
	if s.check != "" {
		return s.checkRenewedBy(e, l, key)
	}
	switch event := e.event.(type) {
	case domain.HeartbeatReceived:
		return event.Epoch == s.epoch && event.Check == ""
	case domain.InstanceRegistered:
		return event.Epoch == s.epoch
	case domain.InstanceUpdated:
		return event.Epoch == s.epoch
	case domain.HealthChanged:
		return event.Epoch == s.epoch && event.Source == domain.FromLease && !event.Lapsed
	}
	return false
}

func (s silence) checkRenewedBy(e *recorded, l *life, key domain.Key) bool {
	switch event := e.event.(type) {
	case domain.HeartbeatReceived:
		return event.Epoch == s.epoch && event.Check == s.check
	case domain.CheckChanged:
		return event.Epoch == s.epoch && event.Check == s.check && event.Cause == domain.CheckReported
	case domain.InstanceRegistered:
		return event.Epoch == s.epoch
	case domain.InstanceUpdated: // that defines the check anew
		after := l.state(key, e.Position+1)
		c, ok := after.Check(s.check)
		return ok && c.Revision == after.Revision()
	}
	return false
}

// attemptedBy says whether a command was an attempt to renew what lapsed.
func (s silence) attemptedBy(a *answer) bool {
	switch c := a.command.(type) {
	case domain.SendHeartbeat:
		return s.check == "" && c.Epoch == s.epoch && (c.Owner == "" || a.by.named)
	case domain.ReportCheck:
		return s.check == c.Check && c.Epoch == s.epoch && (c.Owner == "" || a.by.named)
	}
	return false
}

// judgeCheck holds a change of a check against the state before.
func (w *world) judgeCheck(e *recorded, event domain.CheckChanged, before domain.Instance, key domain.Key, l *life) {
	c, ok := before.Check(event.Check)
	if !ok || c.Status != event.From || event.From == event.To {
		w.wrong(e, "the check was %+v", c)
	}
	switch event.Cause {
	case domain.CheckLapsed:
		w.see("a check lapses")
		if event.TTL != c.TTL {
			w.wrong(e, "the ttl was %s", c.TTL)
		}
		w.judgeSilence(e, silence{event.Epoch, event.Check, domain.LastHeard{LastHeartbeat: event.Last, LastRegistered: event.Began}, time.Duration(event.TTL)}, key, l)
	case domain.CheckReported:
		w.see("a check changes by a report")
	default:
		w.wrong(e, "nobody looks at checks here")
	}
}

// judgeRemoval: what lapsed to critical is removed after its time, and not before.
func (w *world) judgeRemoval(e *recorded, event domain.LeaseExpired, before domain.Instance, l *life) {
	w.see("an instance that stays critical is removed")
	if !before.Lapsed.Equal(event.CriticalSince) {
		w.wrong(e, "the lease lapsed at %s", before.Lapsed)
	}
	for _, lapse := range l.lifecycle {
		if lapsed, ok := lapse.event.(domain.HealthChanged); ok && lapsed.Lapsed && lapse.Position < e.Position && lapse.RecordedAt.Equal(event.CriticalSince) {
			// After a restart the time before it is that of the log.
			if after := e.begun.Sub(lapse.written); after < time.Duration(event.RemoveAfter) && !w.stepped(lapse.written, e.begun) {
				w.wrong(e, "it was critical for %s only", after)
			}
			return
		}
	}
	w.wrong(e, "no lease lapsed then")
}

// judgeStatus: the status that an event tells is the worst of what the instance says, its checks and its lease.
func (w *world) judgeStatus(e *recorded, before, after domain.Instance) {
	told, previous := after.Status, before.Status
	switch event := e.event.(type) {
	case domain.InstanceRegistered:
		told = event.Status
	case domain.InstanceUpdated:
		told = event.Status
	case domain.HealthChanged:
		told = event.To
	case domain.CheckChanged:
		told, previous = event.Status, cmp.Or(event.PreviousStatus, event.Status)
	}
	critical := !after.Lapsed.IsZero() || after.Says() == domain.Critical
	for _, c := range after.Checks {
		critical = critical || c.Status == domain.Critical
	}
	if told != after.Status || previous != before.Status || after.Live() && critical != (after.Status == domain.Critical) {
		w.wrong(e, "it leads from %+v to %+v", before, after)
	}
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
	switch a.command.(type) { // what each command leads to
	case domain.SendHeartbeat:
		if changed, ok := e.event.(domain.HealthChanged); ok && changed.Source == domain.FromLease && changed.Epoch == a.result.Epoch {
			break
		}
		if event, ok := e.event.(domain.HeartbeatReceived); !ok || event.Check != "" || event.Epoch != a.result.Epoch || !state.Live() || state.Epoch != event.Epoch {
			w.t.Errorf("heartbeat %s was answered with epoch %d at position %d, where the instance is %+v", a.request, a.result.Epoch, a.result.Position, state)
		}
	case domain.ReportCheck:
		w.judgeReport(a, e, lives[key].state(key, a.result.Position+1))
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

// judgeReport: a report of a check that was answered stands, as a renewal or as a change.
func (w *world) judgeReport(a *answer, e *recorded, after domain.Instance) {
	report := a.command.(domain.ReportCheck)
	c, ok := after.Check(report.Check)
	renewal, renews := e.event.(domain.HeartbeatReceived)
	change, changes := e.event.(domain.CheckChanged)
	stands := renews && renewal.Check == report.Check && renewal.Epoch == a.result.Epoch || changes && change.Check == report.Check && change.To == report.Status
	if !stands || !ok || c.Status != report.Status || !after.Live() || after.Epoch != a.result.Epoch {
		w.t.Errorf("report %s %+v was answered with epoch %d at position %d, which is %+v, where the instance is %+v", a.request, report, a.result.Epoch, a.result.Position, e.event, after)
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
