package commands

import (
	"context"
	"strconv"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// target is what a command is for: an instance, or a check of it.
type target struct {
	key   domain.Key
	check string
}

func targetOf(command domain.Command) target {
	switch c := command.(type) {
	case domain.ReportCheck:
		return target{c.Key, c.Check}
	case domain.ReportProbe:
		return target{c.Key, c.Check}
	}
	return target{key: command.Instance()}
}

// task is a command on its way.
type task struct {
	Request
	Result
	standing
	by    int32           // index of the caller in work.callers
	state domain.Instance // zero unless loaded
}

// standing is where a task is on its way.
type standing struct {
	request int32 // index of the task's append in this attempt
	loaded  bool  // the state was set
	assumed bool  // the state is the catalog's, or that of an unknown instance: the state may be behind the stream
	pending bool  // the task has an append in this attempt
	renewed bool  // the task only appended a heartbeat
	done    bool
}

// reset makes the task ready for another command. The state, which is most of a task, is left alone where it was never set.
func (t *task) reset() {
	if t.loaded {
		t.state = domain.Instance{}
	}
	t.Request, t.Result, t.standing, t.by = Request{}, Result{}, standing{}, 0
}

// set gives the task its state.
func (t *task) set(state domain.Instance) { t.state, t.loaded = state, true }

// onlyRenews says whether the task was a heartbeat or a report of a check that changed nothing. Its answer does not wait for
// the projections.
func (t *task) onlyRenews() bool {
	switch t.Command.(type) {
	case domain.SendHeartbeat, domain.ReportCheck:
		return t.renewed
	}
	return false
}

// load gives the task the state of its instance. The first attempt takes the state from the catalog. A later attempt,
// and an attempt for an instance that is not in the catalog, folds the instance's stream. A registration of an instance
// that is not in the catalog takes the empty state without a read: if the stream has a live instance, the append fails.
func (s *Service) load(ctx context.Context, t *task, again bool) error {
	key := t.Command.Instance()
	if !again {
		t.assumed = true
		if entry := s.catalog().Find(key); entry != nil {
			t.set(state(entry, t))
			t.Position = entry.Position
			return nil
		}
		if t.mayBegin() {
			return nil
		}
	}
	return s.loadStream(ctx, t)
}

// loadStream gives the task the state that the events of its instance make.
func (s *Service) loadStream(ctx context.Context, t *task) error {
	key := t.Command.Instance()
	t.assumed = false
	t.set(domain.Instance{Key: key})
	t.Position = 0
	for e, err := range s.store.ReadStream(ctx, eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			return err
		}
		// An event that cannot be read changes no state. The catalog passes over such an event, too, and reports it.
		t.state, _ = eventstore.Evolve(t.state, &e)
		t.Position = e.Position
	}
	return nil
}

// state gives the entry's state for the task's command. Only commands that define anew need the instance's details, which
// cost a decoding, and results of probes, which hold for one address.
func state(e *catalog.Entry, t *task) domain.Instance {
	switch t.Command.(type) {
	case domain.RegisterInstance, domain.AddCheck, domain.RemoveCheck, domain.ReportProbe:
		return e.Instance()
	}
	return e.Brief()
}

// begin is decide of the registration of an instance that is taken to have no stream, which most new instances' are: it spares
// them the memory of an event and of a list of events. ok is false for any other task: then decide must tell.
func (t *task) begin() (registered domain.InstanceRegistered, ok bool) {
	if t.loaded {
		return registered, false
	}
	register, _ := t.Command.(domain.RegisterInstance)
	if registered, ok = register.Begin(); ok {
		t.Epoch, t.Created, t.Outcome = registered.Epoch, true, RegistrationCreated
	}
	return registered, ok
}

func (t *task) decide() ([]domain.Event, error) {
	if !t.loaded {
		t.set(domain.Instance{Key: t.Command.Instance()})
	}
	if err := t.match(); err != nil {
		return nil, err
	}
	events, err := domain.Decide(t.state, t.Command)
	t.Epoch = t.state.Epoch
	if t.state.Events > 0 {
		t.Revision = t.state.Revision()
	}
	t.Created, t.Outcome = false, "" // of an attempt that lost a race
	if t.registers() {
		t.Outcome = RegistrationRenewed
	}
	for _, e := range events {
		switch r := e.(type) {
		case domain.InstanceRegistered:
			t.Epoch, t.Created, t.Outcome = r.Epoch, true, RegistrationCreated
		case domain.InstanceUpdated:
			t.Outcome = RegistrationUpdated
		}
	}
	return events, err
}

// match checks the request's If-Match against the instance. Of an instance that is not live, match checks
// registrations and the end of maintenance: domain.Decide refuses all other commands.
func (t *task) match() error {
	key := t.Command.Instance()
	switch {
	case t.IfMatch == nil && !t.IfLive:
		return nil
	case !t.state.Live() && (t.registers() || t.endsMaintenance()):
		return domain.NothingToMatch{Key: key}
	case t.state.Live() && t.IfMatch != nil && *t.IfMatch != t.state.Revision():
		return domain.RevisionMismatch{Key: key, Want: *t.IfMatch, Actual: t.state.Revision()}
	}
	return nil
}

// endsMaintenance says whether the command ends the maintenance of a key at which no instance is live.
func (t *task) endsMaintenance() bool {
	change, ok := t.Command.(domain.ChangeTraffic)
	return ok && change.Traffic == domain.Serving && t.state.Maintenance != nil && !t.state.Live()
}

// level says whether the streams that this node reads have whatever was answered before an attempt began.
type level struct {
	asked bool
	err   error // why that is not known
}

// reach gets the node level with the other nodes, once for all tasks of an attempt.
func (l *level) reach(ctx context.Context, store eventstore.Store) error {
	if !l.asked {
		_, l.err = store.Head(ctx)
		l.asked = true
	}
	return l.err
}

// decideOnStream gives the decision back if the task's state is as new as the instance's stream, and decides again on
// the stream otherwise. INVARIANT: no command is refused, and none is answered as done already, on a catalog, or on a stream,
// that is behind. The task is done if it turns out that it was carried out before.
func (s *Service) decideOnStream(ctx context.Context, caller *Caller, t *task, stream *level, events []domain.Event, refusal error) ([]domain.Event, error) {
	if s.Behind {
		if err := stream.reach(ctx, s.store); err != nil {
			return nil, err
		}
	}
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}
	for e, err := range s.store.ReadStream(ctx, eventstore.LifecycleStream(t.Command.Instance()), newest) {
		if err != nil {
			return nil, err
		}
		if uint64(e.Revision)+1 == t.state.Events {
			return events, refusal
		}
	}
	if err := s.load(ctx, t, true); err != nil {
		return nil, err
	}
	if t.done, t.Err = s.sentBefore(ctx, caller, t); t.done {
		return nil, t.Err
	}
	return t.decide()
}

// appendRequest makes the request to append the events that were decided, provided that the lifecycle stream still
// has the revision that they were decided on. A heartbeat goes into the heartbeat stream, at any revision of that
// stream. All other events go into the lifecycle stream.
func appendRequest(t *task, events []domain.Event, caller *Caller, w *work) eventstore.AppendRequest {
	_, beat := events[0].(domain.HeartbeatReceived)
	r := eventstore.AppendRequest{Events: w.eventData(len(events))}
	metadata := w.metadata.of(caller, beat)
	for i, e := range events {
		r.Events[i] = eventstore.EventData{Type: e.EventType(), Data: w.encode(e), Metadata: metadata}
	}
	if beat {
		r.Stream, r.Other = eventstore.HeartbeatStream(t.Command.Instance()), eventstore.Unchanged(t.state.Events)
		return r
	}
	return lifecycle(t, r, caller)
}

// appendRegistered is appendRequest for the event of begin.
func appendRegistered(t *task, e *domain.InstanceRegistered, caller *Caller, w *work) eventstore.AppendRequest {
	r := eventstore.AppendRequest{Events: w.eventData(1)}
	r.Events[0] = eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: w.encodeRegistered(e), Metadata: w.metadata.of(caller, false)}
	return lifecycle(t, r, caller)
}

// lifecycle completes the request to append events to the lifecycle stream of the task's instance.
func lifecycle(t *task, r eventstore.AppendRequest, caller *Caller) eventstore.AppendRequest {
	r.Stream, r.Expected = eventstore.LifecycleStream(t.Command.Instance()), eventstore.Unchanged(t.state.Events)
	if t.Once != "" {
		ids := onceOf(caller, t)
		for i := range r.Events {
			r.Events[i].ID = ids.at(i)
		}
	}
	return r
}

// metadata are the bytes of a caller's metadata, which the events of the caller's commands share.
type metadata struct {
	caller      *Caller // the newest one
	beat, other []byte
}

// of gives the metadata of a heartbeat, or of another event.
func (m *metadata) of(caller *Caller, beat bool) []byte {
	if m.caller != caller {
		*m = metadata{caller: caller}
	}
	written := &m.other
	if beat {
		written = &m.beat
	}
	if *written == nil {
		*written = caller.metadata(beat)
	}
	return *written
}

// metadata is the JSON of domain.Metadata. A heartbeat has no request id, so that all heartbeats of a caller share
// one metadata.
func (c Caller) metadata(beat bool) []byte { return c.appendMetadata(make([]byte, 0, 128), beat) }

// appendMetadata appends what metadata gives.
func (c *Caller) appendMetadata(b []byte, beat bool) []byte {
	field := func(name, value string) {
		if value != "" {
			b = append(append(append(b, '"'), name...), '"', ':')
			b = eventstore.AppendString(b, value)
			b = append(b, ',')
		}
	}
	b = append(b, '{')
	field("actor", c.Actor)
	field("source", c.Source)
	field("via", c.Via)
	if !beat {
		field("request_id", c.RequestID)
	}
	field("reverts", c.reverts)
	field("reason", c.reason)
	field("forced", c.forced)
	b = append(b, `"schema":`...)
	return append(strconv.AppendInt(b, domain.SchemaVersion, 10), '}')
}
