// Package commands carries out commands: it loads the instance's state, decides in the domain,
// appends what was decided with the revision that it was decided on, and answers with the position.
//
// A command is answered when its events are durable. A command that changed the catalog is answered when this node's
// catalog shows the change, too: a query after the answer sees the change.
package commands

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// attempts is how often a command is decided while other commands change the same instance. After the last attempt
// the command is refused with ErrContended.
const attempts = 8

// Catalog is the live catalog, as commands need it.
type Catalog interface {
	// Find gives the entry of a live instance, or nil.
	Find(key domain.Key) *catalog.Entry
	// FindAll appends the result of Find for each key.
	FindAll(into []*catalog.Entry, keys []domain.Key) []*catalog.Entry
	// View is a service with its live instances.
	View(key domain.ServiceKey) *catalog.View
}

// Progress is the progress of the projections.
type Progress interface {
	// WaitFor waits until the projections have applied all events up to the position.
	WaitFor(ctx context.Context, position eventstore.Position) error
}

// Service carries out commands. It may be used from any goroutine.
type Service struct {
	store    eventstore.Store
	catalog  func() Catalog
	progress Progress
	observe  func(Outcome)

	// Guard holds removals to policies; nil: there are none. It is set before the first command.
	Guard *Guard

	// Behind says that what this node reads from the store may be behind what other nodes have answered for. Then the node gets
	// level with them (eventstore.Store.Head) before it refuses a command, or answers one as done already. It is set before the
	// first command.
	Behind bool

	// Reach says which targets checks may have. It is set before the first command.
	Reach domain.Reach
}

// New makes a service that appends to the store. catalog gives the live catalog of the projections whose progress is
// given. observe is called with the outcome of every command; nil: no call.
func New(store eventstore.Store, catalog func() Catalog, progress Progress, observe func(Outcome)) *Service {
	if observe == nil {
		observe = func(Outcome) {}
	}
	return &Service{store: store, catalog: catalog, progress: progress, observe: observe}
}

// Outcome is the outcome of commands, for an observer.
type Outcome struct {
	Command domain.Command // of a heartbeat, only the type counts: the fields may be empty
	Err     error
	Times   int // number of commands of this type with this outcome
}

// Caller names the sender of a command. The caller becomes the metadata of the command's events.
type Caller struct {
	Actor     string // token or certificate name, or domain.Anonymous
	Source    string // network address
	Via       string // http, cli, expiry …
	RequestID string

	Registry bool // the registry itself, not a client: it may change what is in its own namespace

	reverts, reason, forced string // see domain.Metadata
}

// mayWrite refuses a client's command for an instance of the registry itself.
func (c *Caller) mayWrite(key domain.Key) error {
	if key.Namespace == domain.RegistryNamespace && !c.Registry {
		return domain.InvalidField{Field: "namespace", Rule: "must not be " + domain.RegistryNamespace + ": only the registry changes what is in it"}
	}
	return nil
}

// Request is a command with its caller's preconditions.
type Request struct {
	Command domain.Command
	IfMatch *uint64 // the revision that the live instance must have; nil: any
	IfLive  bool    // an instance must be live
	Once    string  // key under which the command is carried out once (once.go); "": none
}

// registers says whether the command enters an instance into the catalog.
func (r *Request) registers() bool {
	_, registers := r.Command.(domain.RegisterInstance)
	return registers
}

// mayBegin says whether the request can be carried out where no instance is live.
func (r *Request) mayBegin() bool {
	register, registers := r.Command.(domain.RegisterInstance)
	return registers && register.Epoch == 0 && r.IfMatch == nil && !r.IfLive
}

// Result is a command's outcome.
type Result struct {
	Position eventstore.Position // of the command's event, or of the newest change where none was needed
	Revision uint64              // of the instance's lifecycle stream after the command
	Epoch    uint64
	Created  bool // the command began an epoch
	// Outcome is what a registration came to: created, updated or renewed; "": another command.
	Outcome string
	Err     error
}

// Outcomes of a registration.
const (
	RegistrationCreated = "created" // it began an epoch
	RegistrationUpdated = "updated" // it changed a live instance
	RegistrationRenewed = "renewed" // nothing differed: it renewed the lease
)

// ErrContended refuses a command because others kept changing the same instance. It may be sent again.
var ErrContended = errors.New("others keep changing the same instance; try again")

// Do carries out one command.
func (s *Service) Do(ctx context.Context, caller Caller, request Request) Result {
	if report, ok := request.Command.(domain.ReportCheck); ok && request.IfMatch == nil && !request.IfLive {
		return s.Heartbeats(caller).Report(ctx, report)
	}
	if beat, ok := request.Command.(domain.SendHeartbeat); ok && request.IfMatch == nil {
		return s.Heartbeats(caller).Send(ctx, beat)
	}
	return s.doOne(ctx, caller, request)
}

func (s *Service) doOne(ctx context.Context, caller Caller, request Request) Result {
	var one [1]task
	one[0].Request = request
	s.do(ctx, caller, one[:])
	return one[0].Result
}

// DoAll carries out many commands with as few commits as it can, and answers each by itself, in
// their order. Of two commands for one instance the second is refused: which of them came first
// could not be said.
func (s *Service) DoAll(ctx context.Context, caller Caller, requests []Request) []Result {
	return s.doAll(ctx, caller, requests, func(i int) int { return i })
}

// doAll is DoAll for a part of a batch: item gives a request's place in the whole. Reports of several checks of one instance
// are carried out one after the other.
func (s *Service) doAll(ctx context.Context, caller Caller, requests []Request, item func(int) int) []Result {
	tasks := make([]task, len(requests))
	left, again := begin(requests, tasks, item)
	if !again {
		s.do(ctx, caller, tasks)
		left = nil
	}
	for len(left) > 0 {
		left = s.doRound(ctx, caller, tasks, left)
	}
	results := make([]Result, len(tasks))
	for i := range tasks {
		results[i] = tasks[i].Result
	}
	return results
}

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

// begin fills the tasks, and refuses those whose target an earlier one has. It gives the indexes of the others. again says
// that an instance has several.
func begin(requests []Request, tasks []task, item func(int) int) (left []int, again bool) {
	seen := make(map[target]int, len(requests))
	left = make([]int, 0, len(requests))
	for i, r := range requests {
		tasks[i].Request = r
		of := targetOf(r.Command)
		first, twice := seen[of]
		whole := target{key: of.key}
		if of != whole {
			if first, several := seen[whole]; several && !twice { // of the instance, or of another of its checks
				again = true
				twice = targetOf(requests[first].Command) == whole
			} else if !several {
				seen[whole] = i
			}
		}
		if twice {
			tasks[i].Err, tasks[i].done = namedTwice(item(first)), true
			continue
		}
		seen[of] = i
		left = append(left, i)
	}
	return left, again
}

// doRound carries out the first of the tasks that are left of each instance. It gives the others.
func (s *Service) doRound(ctx context.Context, caller Caller, tasks []task, left []int) (others []int) {
	round := make([]task, 0, len(left))
	at := make([]int, 0, len(left))
	named := make(map[domain.Key]bool, len(left))
	for _, i := range left {
		key := tasks[i].Command.Instance()
		if named[key] {
			others = append(others, i)
			continue
		}
		named[key] = true
		round, at = append(round, tasks[i]), append(at, i)
	}
	s.do(ctx, caller, round)
	for j, i := range at {
		tasks[i] = round[j]
	}
	return others
}

// task is a command on its way.
type task struct {
	Request
	Result
	state   domain.Instance
	request int32 // index of the task's append in this attempt
	assumed bool  // the state is the catalog's, or that of an unknown instance: the state may be behind the stream
	pending bool  // the task has an append in this attempt
	renewed bool  // the task only appended a heartbeat
	done    bool
}

// onlyRenews says whether the task was a heartbeat or a report of a check that changed nothing. Its answer does not wait for
// the projections.
func (t *task) onlyRenews() bool {
	switch t.Command.(type) {
	case domain.SendHeartbeat, domain.ReportCheck:
		return t.renewed
	}
	return false
}

// do carries out the tasks that are not done yet. Afterwards every task has its result.
func (s *Service) do(ctx context.Context, caller Caller, tasks []task) {
	for i := range tasks {
		if t := &tasks[i]; !t.done {
			if t.Err = caller.mayWrite(t.Command.Instance()); t.Err == nil {
				t.Err = s.validate(t.Command)
			}
			if t.Err == nil {
				t.Err = s.targets(t.Command)
			}
			t.done = t.Err != nil
		}
	}
	s.doGuarded(ctx, caller, tasks)
	for attempt := 0; attempt < attempts && s.try(ctx, caller, tasks, attempt > 0); attempt++ {
	}
	var changed eventstore.Position
	for i := range tasks {
		t := &tasks[i]
		if !t.done {
			t.Err = ErrContended
		}
		if t.Err == nil && !t.onlyRenews() {
			changed = max(changed, t.Position)
		}
		s.observe(Outcome{Command: t.Command, Err: t.Err, Times: 1})
	}
	if changed > 0 {
		// The events are durable: the commands have succeeded, also if the caller's context ends during the wait.
		_ = s.progress.WaitFor(ctx, changed)
	}
}

// validate checks a command against the limits. A registration that breaks a limit, but only repeats a registration
// which an earlier version of Rollcall accepted, is carried out: the registration renews the lease.
func (s *Service) validate(command domain.Command) error {
	err := command.Validate()
	if register, registers := command.(domain.RegisterInstance); registers && err != nil {
		if entry := s.catalog().Find(register.Key); entry != nil && entry.Instance().Repeats(register) {
			return nil
		}
	}
	return err
}

// targets refuses checks whose target must not be probed.
func (s *Service) targets(command domain.Command) error {
	switch c := command.(type) {
	case domain.RegisterInstance:
		return s.Reach.Targets("checks[%d].", c.Details.Checks, c.Details.Address)
	case domain.AddCheck:
		if entry := s.catalog().Find(c.Key); entry != nil && c.Check.Kind.Probed() {
			return s.Reach.Targets("", []domain.Check{c.Check}, entry.Details().Address)
		}
	}
	return nil
}

// try decides and appends the tasks that are not done yet. It returns true if a task needs another attempt.
func (s *Service) try(ctx context.Context, caller Caller, tasks []task, again bool) bool {
	requests := make([]eventstore.AppendRequest, 0, len(tasks))
	var stream level
	for i := range tasks {
		t := &tasks[i]
		t.pending, t.renewed = false, false
		if t.done {
			continue
		}
		if t.Err = s.load(ctx, t, again); t.Err != nil {
			t.done = true
			continue
		}
		if t.done, t.Err = s.sentBefore(ctx, caller, t); t.done {
			continue
		}
		events, err := t.decide()
		if (t.assumed || s.Behind) && (err != nil || len(events) == 0) { // without an append nothing shows that the state is behind
			if events, err = s.decideOnStream(ctx, caller, t, &stream, events, err); t.done {
				continue
			}
		}
		t.Err = err
		if err != nil || len(events) == 0 {
			t.done = true
			continue
		}
		t.pending, t.request = true, int32(len(requests))
		requests = append(requests, appendRequest(t, events, caller))
	}
	if len(requests) == 0 {
		return false
	}
	results, err := s.store.Append(ctx, nil, requests...)
	caughtUp := s.awaitUntied(ctx, results)
	repeat := false
	for i := range tasks {
		t := &tasks[i]
		if !t.pending {
			continue
		}
		if err != nil {
			t.Err, t.done = err, true
			continue
		}
		if conflict := results[t.request].Err; conflict != nil {
			repeat = true
			continue
		}
		if results[t.request].Untied {
			valid, err := s.validAt(ctx, t.Command.Instance(), t.Epoch, renewalBy(t.Command), results[t.request].Position, caughtUp)
			if err != nil {
				t.Err, t.done = err, true
				continue
			}
			if !valid {
				repeat = true
				continue
			}
		}
		t.Position, t.done = results[t.request].Position, true
		if t.renewed = requests[t.request].Stream.IsHeartbeat(); !t.renewed {
			t.Revision = uint64(results[t.request].Revision)
		}
	}
	return repeat
}

// load gives the task the state of its instance. The first attempt takes the state from the catalog. A later attempt,
// and an attempt for an instance that is not in the catalog, folds the instance's stream. A registration of an instance
// that is not in the catalog takes the empty state without a read: if the stream has a live instance, the append fails.
func (s *Service) load(ctx context.Context, t *task, again bool) error {
	key := t.Command.Instance()
	if !again {
		t.assumed = true
		if entry := s.catalog().Find(key); entry != nil {
			t.state = state(entry, t)
			t.Position = entry.Position
			return nil
		}
		if t.mayBegin() {
			t.state = domain.Instance{Key: key}
			return nil
		}
	}
	t.assumed = false
	t.state, t.Position = domain.Instance{Key: key}, 0
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
// cost a decoding.
func state(e *catalog.Entry, t *task) domain.Instance {
	switch t.Command.(type) {
	case domain.RegisterInstance, domain.AddCheck, domain.RemoveCheck:
		return e.Instance()
	}
	return e.Brief()
}

func (t *task) decide() ([]domain.Event, error) {
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
func (s *Service) decideOnStream(ctx context.Context, caller Caller, t *task, stream *level, events []domain.Event, refusal error) ([]domain.Event, error) {
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
func appendRequest(t *task, events []domain.Event, caller Caller) eventstore.AppendRequest {
	r := eventstore.AppendRequest{Events: make([]eventstore.EventData, len(events))}
	_, beat := events[0].(domain.HeartbeatReceived)
	metadata := caller.metadata(beat)
	for i, e := range events {
		data, err := domain.Encode(e)
		if err != nil {
			panic(fmt.Sprintf("commands: an event of ours cannot be encoded: %v", err))
		}
		r.Events[i] = eventstore.EventData{Type: e.EventType(), Data: data, Metadata: metadata}
	}
	switch key := t.Command.Instance(); {
	case beat:
		r.Stream, r.Other = eventstore.HeartbeatStream(key), eventstore.Unchanged(t.state.Events)
	default:
		r.Stream, r.Expected = eventstore.LifecycleStream(key), eventstore.Unchanged(t.state.Events)
		if t.Once != "" {
			ids := onceOf(caller, t)
			for i := range r.Events {
				r.Events[i].ID = ids.at(i)
			}
		}
	}
	return r
}

// metadata is the JSON of domain.Metadata. A heartbeat has no request id, so that all heartbeats of a caller share
// one metadata.
func (c Caller) metadata(beat bool) []byte {
	b := make([]byte, 0, 128)
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
