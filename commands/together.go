package commands

import (
	"context"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Part is one of the commands that are carried out together, with the command's own caller.
type Part struct {
	Caller
	Request
}

// Together carries out commands for different instances with one append: all of them, or none. So no failure and no end of the
// registry leaves only some of them done. The error is the refusal of the first command that is refused, or ErrContended where another
// request changed an instance meanwhile. Results are in the order of the commands.
//
// A registration that changes nothing needs no event, and renews no lease here. A store that cannot bind streams carries out each
// command by itself (eventstore.AppendRequest).
//
// REQUIRES: no two commands are for one instance, and none has a key (Request.Once).
func (s *Service) Together(ctx context.Context, parts ...Part) (results []Result, err error) {
	w := &work{tasks: make([]task, len(parts))} // not one of the pool: few commands come so
	admitted := make([][]domain.RemovalAdmitted, len(parts))
	defer func() {
		for i := range parts {
			s.withdraw(ctx, parts[i].Caller, parts[i].Command.Instance().Namespace, admitted[i])
			s.observe(Outcome{Command: parts[i].Command, Err: err, Times: 1})
		}
	}()
	if s.Behind {
		if _, err := s.store.Head(ctx); err != nil {
			return nil, err
		}
	}
	read := guardLogs{}
	for i := range parts {
		t := &w.tasks[i]
		t.Request = parts[i].Request
		events, err := s.decidePart(ctx, &parts[i].Caller, t, &admitted[i], read)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			t.pending, t.request = true, int32(len(w.requests))
			w.requests = append(w.requests, appendRequest(t, events, &parts[i].Caller, w))
		}
	}
	if err := s.appendTogether(ctx, w, admitted); err != nil {
		return nil, err
	}
	for i := range w.tasks {
		results = append(results, w.tasks[i].Result)
	}
	return results, nil
}

// decidePart decides a task on its stream. A removal is judged by the policies: what they admit is added to admitted, and what the caller insists
// on is noted with the caller.
func (s *Service) decidePart(ctx context.Context, caller *Caller, t *task, admitted *[]domain.RemovalAdmitted, read guardLogs) ([]domain.Event, error) {
	if err := caller.mayWrite(t.Command.Instance()); err != nil {
		return nil, err
	}
	if err := s.validate(t.Command); err != nil {
		return nil, err
	}
	if err := s.targets(t.Command); err != nil {
		return nil, err
	}
	if err := s.loadStream(ctx, t); err != nil {
		return nil, err
	}
	events, err := t.decide()
	if err != nil {
		return nil, err
	}
	if caller.forced, err = s.admitOne(ctx, caller, t.Command, &t.state, admitted, read); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(events, func(e domain.Event) bool {
		_, renews := e.(domain.HeartbeatReceived)
		return renews
	}), nil
}

// appendTogether appends what the tasks of the work decided, and gives the tasks their results. Admissions of removals that are done, or may be, are
// taken out of admitted.
func (s *Service) appendTogether(ctx context.Context, w *work, admitted [][]domain.RemovalAdmitted) (refusal error) {
	if len(w.requests) == 0 {
		return nil
	}
	w.requests[0].Together = true
	appended, err := s.store.Append(ctx, nil, w.requests...)
	if err != nil {
		clear(admitted)
		return err
	}
	var changed eventstore.Position
	for i := range w.tasks {
		t := &w.tasks[i]
		if !t.pending {
			continue
		}
		r := &appended[t.request]
		switch {
		case notAppended(r.Err):
			refusal = ErrContended
			continue
		case r.Err != nil:
			refusal = r.Err
		}
		admitted[i] = nil
		t.Position, t.Revision = r.Position, uint64(r.Revision)
		changed = max(changed, r.Position)
	}
	if changed > 0 {
		_ = s.progress.WaitFor(ctx, changed) // see Service.do
	}
	return refusal
}
