package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func revertCommand(remote *commandLine) *cobra.Command {
	var r wire.RevertRequest
	var from, to momentFlag
	c := &cobra.Command{
		Use:   "revert",
		Short: "Take back what happened since a moment, or the effect of an event, an actor or a request",
		Example: "  rollcall revert --ns prod --service checkout --to 03:11 --dry-run\n" +
			"  rollcall revert --ns prod --service checkout --to 03:11 --reason 'wrong namespace'\n" +
			"  rollcall revert --actor deploy-bot --from '1h ago' --reason 'runaway script'\n" +
			"  rollcall revert --event 4711",
		Long: `The plan is the difference between a moment and now (or the effect of some events), told as commands. --dry-run
shows it and changes nothing. Applied, each command takes effect only if its instance has not changed since the plan
was made; what has is skipped and listed. A revert is events like any other, and can be reverted.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&r.Service, "service", "", "only instances of this service")
	f.StringVar(&r.Instance, "instance", "", "only the instance of the service with this id")
	momentVar(f, &to, "to", "moment to go back to: "+momentWords+"; with --actor, the end of the span")
	f.StringVar(&r.Event, "event", "", "take back one event: its position or its id")
	f.StringVar(&r.Actor, "actor", "", "take back the events of one actor since --from")
	momentVar(f, &from, "from", "with --actor: the moment from which on its events are taken back")
	f.StringVar(&r.Request, "request", "", "take back the events of one request, by its id")
	f.StringSliceVar(&r.Kinds, "kinds", nil, "only these kinds: registrations, traffic, health, checks, metadata")
	f.BoolVar(&r.IncludeLapsed, "include-lapsed", false, "register again also what lapsed; it lapses again unless it is heard")
	f.BoolVar(&r.AllOrNothing, "all-or-nothing", false, "do nothing at all if an instance changed since the plan was made")
	f.BoolVar(&r.DryRun, "dry-run", false, "show the plan, and change nothing")
	f.StringVar(&r.Plan, "plan", "", "position of a plan that was looked at (--dry-run says it): skip what changed after it")
	f.StringVar(&r.Reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		if r.Event == "" || c.Flags().Changed("ns") { // an event says itself what it is of
			r.Namespace = remote.namespace
		}
		r.From, r.To = string(from.moment), string(to.moment)
		reply, err := registry.Revert(c.Context(), r)
		if err != nil {
			return err
		}
		if err := remote.print(c, reply.Raw, func(w io.Writer) error { return tellRevert(w, reply.Value) }); err != nil {
			return err
		}
		if reply.Again && !r.DryRun {
			fmt.Fprintln(c.ErrOrStderr(), "A first attempt got no answer. What it may have reverted is not told here; rollcall history tells it.")
		}
		if r.AllOrNothing && !r.DryRun && len(reply.Value.Skipped) > 0 {
			attempt := ""
			if reply.Again {
				attempt = " by the last attempt"
			}
			return fmt.Errorf("nothing was reverted%s: an instance changed since the plan was made, or a rule refused it", attempt)
		}
		return nil
	}
	return c
}

// revertLine is a line of a revert's output: what happens to several instances alike.
type revertLine struct {
	what, by, note string
	first, last    *wire.RevertCause
	instances      int
}

// tellRevert tells the plan, or what was done, in lines that each stand for several instances.
func tellRevert(w io.Writer, r wire.Revert) error {
	var lines []*revertLine
	add := func(what, note string, cause *wire.RevertCause) {
		line := revertLine{what: what, note: note, first: cause, last: cause}
		if cause != nil {
			line.by = causedBy(cause)
		}
		for _, l := range lines {
			if l.what == line.what && l.by == line.by && (note == "" || l.note == note) {
				l.instances++
				l.span(cause)
				return
			}
		}
		line.instances = 1
		lines = append(lines, &line)
	}
	for _, s := range r.Steps {
		add(s.Change, "", s.Reverts)
	}
	for _, l := range r.LeftAlone {
		note := l.Detail
		if l.Why == "lapsed" {
			note += "; --include-lapsed"
		}
		if l.Why == "changed" && l.Event != nil {
			note += " by " + dash(l.Event.Actor)
		}
		add("left alone", note, nil)
	}
	for _, l := range r.Skipped {
		add("skipped", l.Detail, nil)
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "nothing to revert")
		return err
	}
	counts := 0
	for _, l := range lines {
		counts = max(counts, len(fmt.Sprint(l.instances)))
	}
	for _, l := range lines {
		noun := "instances:"
		if l.instances == 1 {
			noun = "instance: "
		}
		note := oneLine(l.note)
		if l.first != nil {
			note = l.cause()
		}
		if _, err := fmt.Fprintf(w, "%*d %s %-29s (%s)\n", counts, l.instances, noun, l.what, note); err != nil {
			return err
		}
	}
	switch {
	case r.DryRun && len(r.Steps) > 0:
		_, err := fmt.Fprintf(w, "Nothing is changed yet: this is the plan at position %s.\n", r.Position)
		return err
	case !r.DryRun:
		_, err := fmt.Fprintf(w, "%d reverted.\n", r.Instances)
		return err
	}
	return nil
}

// causedBy is what events that share a line have in common.
func causedBy(e *wire.RevertCause) string { return e.Type + " " + e.Actor + " " + e.Reason }

func (l *revertLine) span(e *wire.RevertCause) {
	if e == nil || l.first == nil {
		return
	}
	if e.RecordedAt.Before(l.first.RecordedAt) {
		l.first = e
	}
	if e.RecordedAt.After(l.last.RecordedAt) {
		l.last = e
	}
}

// cause tells the events that are reverted: by deploy-bot at 03:12:04, reason "cleanup".
func (l *revertLine) cause() string {
	text := map[string]string{
		"InstanceDeregistered": "deregistered ", "InstanceRegistered": "registered ", "LeaseExpired": "lease lapsed, told ",
	}[l.first.Type]
	text += "by " + dash(l.first.Actor)
	layout := time.DateTime
	if now := time.Now().UTC(); now.Format(time.DateOnly) == l.first.RecordedAt.UTC().Format(time.DateOnly) {
		layout = time.TimeOnly
	}
	from, to := l.first.RecordedAt.UTC().Format(layout), l.last.RecordedAt.UTC().Format(time.TimeOnly)
	if from[len(from)-len(to):] == to {
		text += " at " + from
	} else {
		text += " from " + from + " to " + to
	}
	if l.first.Reason != "" {
		text += fmt.Sprintf(", reason %q", oneLine(l.first.Reason))
	}
	return text
}
