package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/policies"
)

// Guard holds removals to policies: drains, maintenance and deregistrations by others than the instance itself.
//
// INVARIANT: two removals of one namespace are judged one after the other. Each is admitted by an event in the namespace's
// guard stream, appended at the exact revision up to which the removal was judged. So of two that were judged at once, one is
// judged again, and sees the other's event, also where the other's removal itself is not appended yet, or not applied here.
type Guard struct {
	Policies *policies.Table
	Now      func() time.Time
}

// reservedFor is how long an admitted removal counts as done before the instance's own events show it. The node that
// admitted it may have ended in between.
const reservedFor = 30 * time.Second

// removalOf says how a command takes its instance out of traffic; ok is false if it does not.
func removalOf(command domain.Command) (r domain.Removal, force bool, reason string, ok bool) {
	switch c := command.(type) {
	case domain.DeregisterInstance:
		return domain.RemovedByDeregistration, c.Force, c.Reason, true
	case domain.ChangeTraffic:
		switch c.Traffic {
		case domain.Draining:
			return domain.RemovedByDrain, c.Force, c.Reason, true
		case domain.Maintenance:
			return domain.RemovedByMaintenance, c.Force, c.Reason, true
		}
	}
	return "", false, "", false
}

// itself says whether a command comes from the instance itself: it names the owner of the registration, the caller holds it,
// or the face says so.
func itself(caller *Caller, command domain.Command, state *domain.Instance) bool {
	if caller.Itself {
		return true
	}
	owner, holder := "", ""
	switch c := command.(type) {
	case domain.DeregisterInstance:
		owner, holder = c.Owner, c.Holder
	case domain.ChangeTraffic:
		owner, holder = c.Owner, c.Holder
	}
	if state.Owner == "" {
		return false
	}
	return owner == state.Owner || holder != "" || caller.Actor != "" && domain.Holds(domain.HolderNamed(caller.Actor), state.Owner)
}

// doGuarded carries out the tasks to which policies apply, one after the other.
func (s *Service) doGuarded(ctx context.Context, w *work, tasks []task) {
	if s.Guard == nil || !s.Guard.Policies.Any() {
		return
	}
	read := guardLogs{}
	for i := range tasks {
		t := &tasks[i]
		if t.done || w.caller(t).Registry {
			continue
		}
		if _, _, _, removes := removalOf(t.Command); !removes {
			continue
		}
		if all := s.Guard.Policies.For(t.Command.Instance().ServiceKey()); len(all) > 0 {
			t.Err, t.done = s.remove(ctx, w.caller(t), t, all, read), true
		}
	}
}

// remove carries out a removal if the policies admit it.
func (s *Service) remove(ctx context.Context, caller *Caller, t *task, all []domain.Policy, read guardLogs) (err error) {
	var admitted []domain.RemovalAdmitted // and not carried out
	defer func() { s.withdraw(ctx, *caller, t.Command.Instance().Namespace, admitted) }()
	for range attempts {
		if err := s.load(ctx, t, true); err != nil {
			return err
		}
		if done, err := s.sentBefore(ctx, caller, t); done {
			return err
		}
		events, err := t.decide()
		if err != nil || len(events) == 0 {
			return err
		}
		by := *caller
		if !itself(caller, t.Command, &t.state) {
			admission, err := s.admit(ctx, *caller, t.Command, &t.state, all, read)
			if err != nil {
				return err
			}
			if by.forced = admission.forced; admission.noted {
				admitted = append(admitted, admission.RemovalAdmitted)
			}
		}
		results, err := s.store.Append(ctx, nil, appendRequest(t, events, &by, new(work)))
		if err != nil {
			admitted = nil // the removal may be done
			return err
		}
		if results[0].Err == nil {
			admitted = nil
			t.Position, t.Revision = results[0].Position, uint64(results[0].Revision)
			return nil
		}
		if !notAppended(results[0].Err) {
			admitted = nil
		}
	}
	return ErrContended
}

// admitOne asks the policies, if there are any, about a command that is carried out with others. What they admitted is added to admitted. forced
// is the policy that refused, on which the caller insists.
func (s *Service) admitOne(ctx context.Context, caller *Caller, command domain.Command, state *domain.Instance, admitted *[]domain.RemovalAdmitted, read guardLogs) (forced string, err error) {
	if _, _, _, removes := removalOf(command); !removes || s.Guard == nil || !s.Guard.Policies.Any() || caller.Registry || itself(caller, command, state) {
		return "", nil
	}
	all := s.Guard.Policies.For(command.Instance().ServiceKey())
	if len(all) == 0 {
		return "", nil
	}
	admission, err := s.admit(ctx, *caller, command, state, all, read)
	if admission.noted {
		*admitted = append(*admitted, admission.RemovalAdmitted)
	}
	return admission.forced, err
}

// notAppended says whether the result of an append says for sure that its events are not in the log.
func notAppended(err error) bool {
	return errors.As(err, new(*eventstore.WrongExpectedRevision)) || errors.Is(err, eventstore.ErrNotTogether)
}

// admission is that of a removal.
type admission struct {
	domain.RemovalAdmitted
	noted  bool   // it is in the guard stream; otherwise no policy asks about the removal
	forced string // the policy that refused, on which the caller insists; "": none did
}

// admit asks the policies of a service whether an instance in a state may be removed, and notes that it may.
func (s *Service) admit(ctx context.Context, caller Caller, command domain.Command, state *domain.Instance, all []domain.Policy, read guardLogs) (admission, error) {
	key := command.Instance()
	removal, force, reason, _ := removalOf(command)
	for range attempts {
		if err := s.catchUp(ctx); err != nil {
			return admission{}, err
		}
		past, err := s.admitted(ctx, key.Namespace, all, read)
		if err != nil {
			return admission{}, err
		}
		var a admission
		a.RemovalAdmitted = domain.RemovalAdmitted{Service: key.Service, Instance: key.ID, Events: state.Events, Removal: removal, Reason: reason}
		refusal := s.judge(&a.RemovalAdmitted, past, caller.Actor, key, state, all)
		if refusal != nil && !force {
			s.noteStopped(ctx, caller, key.Namespace, past, refusal)
			return admission{}, *refusal
		}
		if len(a.Policies) == 0 {
			return a, nil
		}
		if refusal != nil {
			a.Forced, a.forced = true, refusal.Policy.Name
		}
		a.noted, err = s.note(ctx, caller, key.Namespace, past.events, a.RemovalAdmitted)
		if err != nil || a.noted {
			return a, err
		}
	}
	return admission{}, ErrContended
}

// withdraw takes back admissions of removals that were not carried out, so that they count for nothing (ADR 074). If that fails,
// they go on counting, as those of a node that ended in between.
//
// REQUIRES: the removals are not in the log, and will not be.
func (s *Service) withdraw(ctx context.Context, caller Caller, namespace string, admitted []domain.RemovalAdmitted) {
	for _, a := range admitted {
		event := domain.RemovalWithdrawn{Service: a.Service, Instance: a.Instance, Events: a.Events}
		_, _ = appendTo(context.WithoutCancel(ctx), s.store, eventstore.GuardStream(namespace), eventstore.Any(), caller.unkeyed(), event)
	}
}

// catchUp waits until the projections have applied all events of the store.
func (s *Service) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpFor)
	defer cancel()
	head, err := s.store.Head(ctx)
	if err != nil {
		return err
	}
	return s.progress.WaitFor(ctx, head)
}

// admissions are the newest events of a guard stream.
type admissions struct {
	events uint64 // of the stream
	now    time.Time
	all    []guardEvent // newest first
}

type guardEvent struct {
	event domain.Event
	actor string
	at    time.Time
}

// guardLogs are what was read of the guard streams of namespaces. The removals of one request share them: each of many reads only
// what came after the one before.
type guardLogs map[string]*guardLog

// guardLog is the end of a guard stream.
type guardLog struct {
	events uint64        // of the stream
	span   time.Duration // all goes back as far
	all    []guardEvent  // oldest first, as they are in the stream
}

// readGuard reads a guard stream back to the events of a span, or to what was read of it before.
func (s *Service) readGuard(ctx context.Context, namespace string, now time.Time, span time.Duration, read guardLogs) (*guardLog, error) {
	known := read[namespace]
	if known == nil || known.span < span {
		known = &guardLog{span: span}
	}
	var newer []guardEvent // newest first
	events := known.events
	opts := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true}
	for e, err := range s.store.ReadStream(ctx, eventstore.GuardStream(namespace), opts) {
		if err != nil {
			return nil, err
		}
		events = max(events, uint64(e.Revision)+1)
		if uint64(e.Revision) < known.events || now.Sub(e.RecordedAt) > known.span {
			break
		}
		if event, err := eventstore.Decode(&e); err == nil { // otherwise another program wrote it
			newer = append(newer, guardEvent{event, eventstore.RecordOf(&e).Actor, e.RecordedAt})
		}
	}
	slices.Reverse(newer)
	known.events, known.all = events, append(known.all, newer...)
	read[namespace] = known
	return known, nil
}

// admitted gives what was admitted within the longest span that counts, and not withdrawn.
func (s *Service) admitted(ctx context.Context, namespace string, all []domain.Policy, read guardLogs) (past admissions, err error) {
	past.now = s.Guard.Now()
	span := reservedFor
	for _, p := range all {
		if p.MaxRemovals != nil {
			span = max(span, time.Duration(p.MaxRemovals.Within))
		}
	}
	log, err := s.readGuard(ctx, namespace, past.now, span, read)
	if err != nil {
		return past, err
	}
	past.events = log.events
	withdrawn := map[domain.RemovalWithdrawn]int{} // that take back an older event
	for _, g := range slices.Backward(log.all) {
		if past.now.Sub(g.at) > span {
			break
		}
		switch e := g.event.(type) {
		case domain.RemovalWithdrawn:
			withdrawn[e]++
			continue
		case domain.RemovalAdmitted:
			if of := (domain.RemovalWithdrawn{Service: e.Service, Instance: e.Instance, Events: e.Events}); withdrawn[of] > 0 {
				withdrawn[of]--
				continue
			}
		}
		past.all = append(past.all, g)
	}
	return past, nil
}

// judge fills in the numbers of an admission and the policies that it asks. It gives the first refusal; nil: none.
func (s *Service) judge(a *domain.RemovalAdmitted, past admissions, actor string, key domain.Key, state *domain.Instance, all []domain.Policy) (refusal *domain.Guarded) {
	reserved := map[string]uint64{}
	for _, p := range past.all {
		if e, ok := p.event.(domain.RemovalAdmitted); ok && e.Service == key.Service && past.now.Sub(p.at) <= reservedFor {
			reserved[e.Instance] = max(reserved[e.Instance], e.Events)
		}
	}
	view := s.catalog().View(key.ServiceKey())
	a.Total = len(view.Entries)
	for _, e := range view.Entries {
		if e.ID() != key.ID && e.Ready() && reserved[e.ID()] < e.Events() {
			a.Left++
		}
	}
	if a.Ready = a.Left; state.Ready() {
		a.Ready++
	}
	for _, p := range all {
		g := domain.Guarded{Policy: p, Key: key, Ready: a.Ready, Left: a.Left, Total: a.Total, Needed: p.MinReady.Of(a.Total), Actor: actor}
		if p.MinReady != "" && state.Ready() { // the removal of what is not ready leaves as many ready
			a.Policies = append(a.Policies, p.Name)
			if g.Left < g.Needed && refusal == nil {
				refusal = &g
			}
		}
		if p.MaxRemovals == nil {
			continue
		}
		if !slices.Contains(a.Policies, p.Name) {
			a.Policies = append(a.Policies, p.Name)
		}
		if removed := past.removals(actor, p, key.Namespace); removed >= p.MaxRemovals.Count && refusal == nil {
			g.Removed = removed
			refusal = &g
		}
	}
	return refusal
}

// removals counts what an actor removed within a policy's span. What was admitted twice, since the instance changed in
// between, counts once.
func (a admissions) removals(actor string, p domain.Policy, namespace string) int {
	type instance struct{ service, id string }
	counted := map[instance]bool{}
	n := 0
	for _, past := range a.all {
		e, ok := past.event.(domain.RemovalAdmitted)
		if !ok || past.actor != actor || a.now.Sub(past.at) > time.Duration(p.MaxRemovals.Within) || !p.Matches(domain.ServiceKey{Namespace: namespace, Service: e.Service}) {
			continue
		}
		if of := (instance{e.Service, e.Instance}); !counted[of] {
			counted[of] = true
			n++
		}
	}
	return n
}

// noteStopped says in the log, once within the policy's span, that an actor reached its limit. The refusal stands without it.
func (s *Service) noteStopped(ctx context.Context, caller Caller, namespace string, past admissions, g *domain.Guarded) {
	if g.Removed == 0 {
		return
	}
	for _, p := range past.all {
		e, ok := p.event.(domain.RemovalsStopped)
		if ok && e.Policy == g.Policy.Name && e.Actor == g.Actor && past.now.Sub(p.at) <= time.Duration(g.Policy.MaxRemovals.Within) {
			return // past may go back further, for other policies and for what is reserved
		}
	}
	_, _ = s.note(ctx, caller, namespace, past.events, domain.RemovalsStopped{
		Policy: g.Policy.Name, Actor: g.Actor, Removed: g.Removed, Within: g.Policy.MaxRemovals.Within,
	})
}

// note appends to a guard stream; appended is false if another event came first.
func (s *Service) note(ctx context.Context, caller Caller, namespace string, events uint64, event domain.Event) (appended bool, err error) {
	_, err = appendTo(ctx, s.store, eventstore.GuardStream(namespace), eventstore.Unchanged(events), caller.unkeyed(), event)
	if errors.As(err, new(*eventstore.WrongExpectedRevision)) {
		return false, nil
	}
	return err == nil, err
}
