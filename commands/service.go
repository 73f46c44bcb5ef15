// Package commands carries out commands: it loads the instance's state, decides in the domain,
// appends what was decided with the revision that it was decided on, and answers with the position.
//
// A command is answered when its events are durable. A command that changed the catalog is answered when this node's
// catalog shows the change, too: a query after the answer sees the change.
package commands

import (
	"context"
	"errors"
	"reflect"
	"slices"

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
	// Position is the position up to which all events have been applied.
	Position() eventstore.Position
	// WaitFor waits until the projections have applied all events up to the position.
	WaitFor(ctx context.Context, position eventstore.Position) error
}

// Service carries out commands. It may be used from any goroutine.
type Service struct {
	store    eventstore.Store
	catalog  func() Catalog
	progress Progress
	observe  func(Outcome)
	crowds   crowds

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

	Itself   bool   // the face knows that the instance itself calls, though its protocol has no owners
	Registry bool   // the registry itself, not a client: it may change what is in its own namespace
	Keyed    *Keyed // the key of the request, where it is no command to an instance; nil: it has none

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

// ErrContended refuses a command because others kept changing the same instance, or what else it was decided on: the policies, the
// tokens and roles, a webhook, the removals of a namespace. It may be sent again.
var ErrContended = errors.New("others keep changing what the command changes; try again")

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
	w := beginWork(1)
	defer w.end()
	w.callers = append(w.callers, caller)
	w.tasks[0].Request = request
	s.do(ctx, w, w.tasks)
	return w.tasks[0].Result
}

// DoAll carries out many commands with as few commits as it can, and answers each by itself, in
// their order. Of two commands for one instance the second is refused: which of them came first
// could not be said.
func (s *Service) DoAll(ctx context.Context, caller Caller, requests []Request) []Result {
	return s.DoAllInto(ctx, nil, caller, requests)
}

// DoAllInto is DoAll whose results are appended to into.
func (s *Service) DoAllInto(ctx context.Context, into []Result, caller Caller, requests []Request) []Result {
	return s.doAll(ctx, into, caller, requests, func(i int) int { return i })
}

// doAll is DoAll for a part of a batch: item gives a request's place in the whole. Reports of several checks of one instance
// are carried out one after the other.
func (s *Service) doAll(ctx context.Context, into []Result, caller Caller, requests []Request, item func(int) int) []Result {
	w := beginWork(len(requests))
	defer w.end()
	w.callers = append(w.callers, caller)
	left, again := w.fill(requests, item)
	if !again {
		s.do(ctx, w, w.tasks)
		left = nil
	}
	for len(left) > 0 {
		left = s.doRound(ctx, w, left)
	}
	into = slices.Grow(into, len(w.tasks))
	for i := range w.tasks {
		into = append(into, w.tasks[i].Result)
	}
	return into
}

// doRound carries out the first of the tasks that are left of each instance. It gives the others.
func (s *Service) doRound(ctx context.Context, w *work, left []int) (others []int) {
	round := make([]task, 0, len(left))
	at := make([]int, 0, len(left))
	named := make(map[domain.Key]bool, len(left))
	for _, i := range left {
		key := w.tasks[i].Command.Instance()
		if named[key] {
			others = append(others, i)
			continue
		}
		named[key] = true
		round, at = append(round, w.tasks[i]), append(at, i)
	}
	s.do(ctx, w, round)
	for j, i := range at {
		w.tasks[i] = round[j]
	}
	return others
}

// do carries out the tasks that are not done yet. Afterwards every task has its result.
func (s *Service) do(ctx context.Context, w *work, tasks []task) {
	for i := range tasks {
		if t := &tasks[i]; !t.done {
			if t.Err = w.caller(t).mayWrite(t.Command.Instance()); t.Err == nil {
				t.Err = s.validate(t.Command)
			}
			if t.Err == nil {
				t.Err = s.targets(t.Command)
			}
			t.done = t.Err != nil
		}
	}
	s.doGuarded(ctx, w, tasks)
	var leave func()
	defer func() { // when the catalog shows the change, so that the next command is decided on it
		if leave != nil {
			leave()
		}
	}()
	for attempt := range attempts {
		if leave == nil && len(tasks) == 1 && !tasks[0].done { // a command of many takes no turn: it would hold one and wait for another
			leave = s.crowds.join(ctx, tasks[0].Command.Instance(), attempt > 0)
		}
		if !s.try(ctx, w, tasks, attempt > 0) {
			break
		}
	}
	var changed eventstore.Position
	var observed Outcome // of tasks that follow one another, of one type and without an error
	for i := range tasks {
		t := &tasks[i]
		if !t.done {
			t.Err = ErrContended
		}
		if t.Err == nil && !t.onlyRenews() {
			changed = max(changed, t.Position)
		}
		if observed.Times > 0 && (t.Err != nil || observed.Err != nil || reflect.TypeOf(t.Command) != reflect.TypeOf(observed.Command)) {
			s.observe(observed)
			observed.Times = 0
		}
		observed = Outcome{Command: t.Command, Err: t.Err, Times: observed.Times + 1}
	}
	if observed.Times > 0 {
		s.observe(observed)
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
func (s *Service) try(ctx context.Context, w *work, tasks []task, again bool) bool {
	w.attempt()
	requests := w.requests
	var stream level
	for i := range tasks {
		t := &tasks[i]
		t.pending, t.renewed = false, false
		if t.done {
			continue
		}
		caller := w.caller(t)
		if t.Err = s.load(ctx, t, again); t.Err != nil {
			t.done = true
			continue
		}
		if t.done, t.Err = s.sentBefore(ctx, caller, t); t.done {
			continue
		}
		if registered, ok := t.begin(); ok {
			t.pending, t.request = true, int32(len(requests))
			requests = append(requests, appendRegistered(t, &registered, caller, w))
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
		requests = append(requests, appendRequest(t, events, caller, w))
	}
	if len(requests) == 0 {
		return false
	}
	w.requests, w.lent = requests, true
	results, err := s.store.Append(ctx, w.results, requests...)
	if err == nil {
		w.results, w.lent = results[:0], false
	}
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
