package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Reversal is the part of a revert that concerns one instance. Its commands are carried out together, at the revision of the
// instance that the plan saw.
type Reversal struct {
	Key    domain.Key
	Events uint64 // lifecycle events of the instance that the plan saw
	Steps  []ReversalStep
}

// ReversalStep is one command of a reversal.
type ReversalStep struct {
	Command domain.Command
	Reverts string // id of the event whose effect the command takes back
}

// ChangedSince refuses a reversal because the instance changed after the plan was made.
type ChangedSince struct {
	Key    domain.Key
	Before bool // the same request reverted the instance before the plan was made: what the plan tells happened since
}

func (e ChangedSince) Error() string {
	if e.Before {
		return fmt.Sprintf("this request was carried out for instance %s before, which changed since", e.Key)
	}
	return fmt.Sprintf("instance %s changed after the plan was made", e.Key)
}

// Revert carries out reversals of different instances. A reversal whose instance changed since the plan was made is refused
// with ChangedSince, and so is one that the domain refuses. With allOrNothing, the first reversal that is refused refuses all
// others with eventstore.ErrNotTogether. Each event of a reversal names the event that it reverts, and the reason.
//
// A request that comes again with its key changes no instance a second time. An instance that changed after the first time is
// refused with ChangedSince, and refuses no others: the plan that came again tells of that change, and it was not taken back.
func (s *Service) Revert(ctx context.Context, caller Caller, reversals []Reversal, reason string, allOrNothing bool) (_ []Result, err error) {
	results := make([]Result, len(reversals))
	repeated := make([]bool, len(reversals)) // carried out before, by the same request
	defer func() {
		for i := range reversals {
			for _, step := range reversals[i].Steps {
				if !repeated[i] {
					s.observe(Outcome{Command: step.Command, Err: cmp.Or(err, results[i].Err), Times: 1})
				}
			}
		}
	}()
	admitted := make([][]domain.RemovalAdmitted, len(reversals)) // of each, and not carried out
	defer func() {
		for i := range reversals {
			s.withdraw(ctx, caller, reversals[i].Key.Namespace, admitted[i])
		}
	}()
	var requests []eventstore.AppendRequest
	var at []int // the reversal of a request
	refused := false
	read := guardLogs{}
	repeats := func(i int) error { // looks whether the request carried a reversal out before
		done, before, err := s.reversed(ctx, caller, &reversals[i])
		if before {
			results[i], repeated[i] = done, true
		}
		return err
	}
	for i := range reversals {
		if err := repeats(i); err != nil {
			return nil, err
		}
		if repeated[i] {
			continue
		}
		request, epoch, err := s.reverse(ctx, caller, &reversals[i], reason, &admitted[i], read)
		if errors.As(err, new(ChangedSince)) { // the change may be the request's own, which is under way elsewhere, too
			if err := repeats(i); err != nil {
				return nil, err
			}
			if repeated[i] {
				continue
			}
		}
		if err != nil {
			results[i].Err, refused = err, true
			continue
		}
		results[i].Epoch = epoch
		requests, at = append(requests, request), append(at, i)
	}
	if allOrNothing && refused {
		for _, i := range at {
			results[i] = Result{Err: eventstore.ErrNotTogether}
		}
		return results, nil
	}
	if len(requests) == 0 {
		return results, nil
	}
	requests[0].Together = allOrNothing
	appended, err := s.store.Append(ctx, nil, requests...)
	if err != nil {
		clear(admitted) // the removals may be done
		return nil, err
	}
	var changed eventstore.Position
	for j, i := range at {
		results[i].Err = appended[j].Err
		if conflict := (*eventstore.WrongExpectedRevision)(nil); errors.As(appended[j].Err, &conflict) {
			results[i].Err = ChangedSince{Key: reversals[i].Key}
		}
		results[i].Position, results[i].Revision = appended[j].Position, uint64(appended[j].Revision)
		if !notAppended(appended[j].Err) {
			admitted[i] = nil
		} else if err := repeats(i); err != nil { // the change that came between may be the request's own
			return nil, err
		}
		changed = max(changed, results[i].Position)
	}
	if changed > 0 {
		_ = s.progress.WaitFor(ctx, changed) // see Service.do
	}
	return results, nil
}

// reversed says whether the request carried a reversal out before, and with which result.
func (s *Service) reversed(ctx context.Context, caller Caller, r *Reversal) (result Result, before bool, err error) {
	e, err := caller.sentBefore(ctx, s.store, eventstore.LifecycleStream(r.Key))
	if err != nil || e.Position == 0 {
		return result, false, err
	}
	if r.Events > uint64(e.Revision) {
		return Result{Err: ChangedSince{Key: r.Key, Before: true}}, true, nil
	}
	return Result{Position: e.Position, Revision: uint64(e.Revision)}, true, nil
}

// reverse decides a reversal, and makes the request to append its events. It adds the removals that policies admitted to admitted.
func (s *Service) reverse(ctx context.Context, caller Caller, r *Reversal, reason string, admitted *[]domain.RemovalAdmitted, read guardLogs) (request eventstore.AppendRequest, epoch uint64, err error) {
	if err := caller.mayWrite(r.Key); err != nil {
		return request, 0, err
	}
	state, err := s.fold(ctx, r.Key)
	if err != nil {
		return request, 0, err
	}
	if state.Events != r.Events {
		return request, 0, ChangedSince{Key: r.Key}
	}
	request = eventstore.AppendRequest{Stream: eventstore.LifecycleStream(r.Key), Expected: eventstore.Unchanged(state.Events)}
	caller.reason = reason
	for _, step := range r.Steps {
		if err := errors.Join(step.Command.Validate(), s.targets(step.Command)); err != nil {
			return request, 0, err
		}
		events, err := domain.Decide(state, step.Command)
		if err != nil {
			return request, 0, err
		}
		if _, err := s.admitOne(ctx, &caller, step.Command, &state, admitted, read); err != nil {
			return request, 0, err
		}
		caller.reverts = step.Reverts
		for _, e := range events {
			if _, renews := e.(domain.HeartbeatReceived); renews { // nothing differs any more
				continue
			}
			made, err := caller.event(request.Stream, len(request.Events), e)
			if err != nil {
				return request, 0, err
			}
			request.Events = append(request.Events, made)
			state = domain.Evolve(state, e, domain.Recorded{Actor: caller.Actor})
		}
	}
	if len(request.Events) == 0 {
		return request, 0, ChangedSince{Key: r.Key}
	}
	return request, state.Epoch, nil
}

// fold is the state of an instance as its stream has it.
func (s *Service) fold(ctx context.Context, key domain.Key) (domain.Instance, error) {
	state := domain.Instance{Key: key}
	for e, err := range s.store.ReadStream(ctx, eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			return state, err
		}
		state, _ = eventstore.Evolve(state, &e) // see load
	}
	return state, nil
}
