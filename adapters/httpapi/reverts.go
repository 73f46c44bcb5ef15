package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// revert plans a revert, and carries the plan out unless the request is a dry run. The caller needs the rights of all of its
// commands, also for the plan.
func (a *api) revert(c echo.Context) error {
	var body wire.RevertRequest
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	who := web.IdentityOf(c)
	scope := revertScope(body)
	if err := who.May(domain.ReadHistory, scope); err != nil {
		if scope.Namespace == "" && body.Namespace == "" && who.MaySomewhere(domain.ReadHistory) == nil {
			return fmt.Errorf("%w: a revert that names no namespace asks the history of all of them; name the one that you mean", err)
		}
		return err
	}
	plan, err := a.Queries.PlanRevert(c.Request().Context(), body)
	if err != nil {
		return err
	}
	reversals, err := reversalsOf(who, &plan)
	if err != nil {
		return err
	}
	if !body.DryRun {
		web.Charge(c, web.Requests, max(len(reversals)-1, 0)) // one is counted already
		if err := a.carryOut(c, body, &plan, reversals); err != nil {
			return err
		}
	}
	a.setPosition(c, a.Queries.Position())
	return c.JSON(http.StatusOK, plan.Shown)
}

// revertScope is what a revert asks the history about.
func revertScope(r wire.RevertRequest) domain.Key {
	key := domain.Key{Namespace: queries.OneNamespace(r.Namespace), Service: r.Service}
	if r.Namespace == "" && (r.Service != "" || r.Event == "" && r.Actor == "" && r.Request == "") {
		key.Namespace = domain.DefaultNamespace
	}
	return key
}

// reversalsOf are the commands of a plan as the caller may give them. What a caller who may change its own instances only
// cannot do, because the instance is another's, is left out of the plan as skipped.
func reversalsOf(who *web.Identity, plan *queries.RevertPlan) (reversals []commands.Reversal, err error) {
	all, steps := plan.Reversals, plan.Shown.Steps
	plan.Reversals, plan.Shown.Steps = nil, []wire.RevertStep{}
	for _, planned := range all {
		shown := steps[:len(planned.Steps)]
		steps = steps[len(planned.Steps):]
		reversal, err := reversalOf(who, &planned)
		if notHeld := new(domain.NotHeld); errors.As(err, notHeld) {
			why, detail := whyNot(err)
			for i, step := range planned.Steps {
				plan.Shown.Skipped = append(plan.Shown.Skipped, queries.Left(planned.Key, step.Kind, why, detail, shown[i].Reverts))
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		reversals = append(reversals, reversal)
		plan.Reversals, plan.Shown.Steps = append(plan.Reversals, planned), append(plan.Shown.Steps, shown...)
	}
	plan.Shown.Instances = len(reversals)
	return reversals, nil
}

// reversalOf is the part of a plan that concerns one instance, as the caller may give the commands.
func reversalOf(who *web.Identity, planned *queries.Reversal) (commands.Reversal, error) {
	reversal, state := commands.Reversal{Key: planned.Key, Events: planned.Events}, planned.Now
	for _, step := range planned.Steps {
		if register, ok := step.Command.(domain.RegisterInstance); ok { // for the owner that it had, and for nobody else
			holder, err := who.Holder(domain.WriteInstances, planned.Key)
			if err == nil && holder != "" && !domain.Holds(holder, register.Owner) {
				err = domain.NotHeld{Key: planned.Key, Holder: holder}
			}
			if err != nil {
				return reversal, err
			}
		}
		command, err := who.Command(step.Command)
		if err != nil {
			return reversal, err
		}
		events, err := domain.Decide(state, command)
		if errors.As(err, new(domain.NotHeld)) {
			return reversal, err
		}
		for _, e := range events { // another refusal is found when the plan is carried out
			state = domain.Evolve(state, e, domain.Recorded{})
		}
		done := commands.ReversalStep{Command: command}
		if step.Reverts != nil {
			done.Reverts = step.Reverts.EventID.String()
		}
		reversal.Steps = append(reversal.Steps, done)
	}
	return reversal, nil
}

// carryOut carries out a plan, and turns it into what became of it.
func (a *api) carryOut(c echo.Context, body wire.RevertRequest, plan *queries.RevertPlan, reversals []commands.Reversal) error {
	shown := &plan.Shown
	planned := shown.Steps
	shown.Steps, shown.Instances = []wire.RevertStep{}, 0
	stale := body.AllOrNothing && len(shown.Skipped) > 0 // the plan that was looked at is not the present one
	var results []commands.Result
	if !stale {
		var err error
		if results, err = a.Commands.Revert(c.Request().Context(), caller(c), reversals, body.Reason, body.AllOrNothing); err != nil {
			return err
		}
	}
	next := 0
	for i, reversal := range plan.Reversals {
		err := eventstore.ErrNotTogether
		if !stale {
			err = results[i].Err
		}
		done := err == nil
		why, detail := whyNot(err)
		if done {
			shown.Instances++
		}
		for _, step := range reversal.Steps {
			told := planned[next]
			next++
			if done {
				at := a.Queries.At(results[i].Position)
				told.At = &at
				shown.Steps = append(shown.Steps, told)
			} else {
				shown.Skipped = append(shown.Skipped, queries.Left(reversal.Key, step.Kind, why, detail, told.Reverts))
			}
		}
	}
	return nil
}

// whyNot says why a reversal was not carried out.
func whyNot(err error) (why, detail string) {
	var changed commands.ChangedSince
	var guarded domain.Guarded
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &guarded):
		return "guarded", guarded.Error() // without the advice to force: a revert cannot
	case errors.As(err, &changed) && changed.Before:
		return "changed", "this request reverted it before, and it changed since"
	case errors.As(err, &changed):
		return "changed", "it changed after the plan was made"
	case errors.Is(err, eventstore.ErrNotTogether):
		return "not-together", "nothing was done, because another instance changed after the plan was made, or a rule refused it"
	}
	p := web.ProblemOf(err)
	return p.Kind(), p.Detail
}
