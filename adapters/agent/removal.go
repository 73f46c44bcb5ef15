package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// removals says when an instance is to be deregistered because one of its checks stays critical (RemoveAfter), and when it
// may come back: when none of these checks is critical any more. The registry is not told of RemoveAfter: it would remove an
// instance that the agent then registers again.
type removals struct {
	checks []domain.Check
	since  []time.Time // when the check was first seen critical; zero: it is not critical
}

// looked notes a look. reason is why the instance is to be deregistered; "": it is not. back says that it may come back.
func (r *removals) looked(now time.Time, n int, status domain.Status) (reason string, back bool) {
	if r.since == nil {
		r.since = make([]time.Time, len(r.checks))
	}
	switch {
	case status != domain.Critical:
		r.since[n] = time.Time{}
	case r.since[n].IsZero():
		r.since[n] = now
	}
	back = true
	for n, since := range r.since {
		after := time.Duration(r.checks[n].RemoveAfter)
		if after == 0 || since.IsZero() {
			continue
		}
		back = false
		if now.Sub(since) >= after {
			reason = fmt.Sprintf("check %s stayed critical for %s", r.checks[n].ID, after)
		}
	}
	return reason, back
}

// look runs the checks of an instance, reports them, and takes the instance out and back as they say.
func (a *Agent) look(ctx context.Context, i *instance) {
	report, end := a.reports.begin(i.Definition, i.kept)
	defer func() { end() }()
	removals := &removals{checks: i.Checks}
	checks := &Checks{Checks: i.Checks, Details: i.Details, Look: a.options.Look, Looked: func(n int, status domain.Status, output string) {
		reason, back := removals.looked(time.Now(), n, status)
		switch {
		case !i.removed && reason != "":
			a.options.Logger.Warn("an instance is deregistered", "instance", i.Key.String(), "cause", reason)
			i.removed = true
			end()
			i.kept.End(reason)
		case i.removed && back:
			if kept := a.keep(ctx, i.Definition); kept != nil { // this instance's looks wait until the predecessor has ended
				i.kept, i.removed = kept, false
				report, end = a.reports.begin(i.Definition, kept)
			}
		}
		if !i.removed {
			report(n, status, output)
		}
	}}
	checks.Run(ctx)
}
