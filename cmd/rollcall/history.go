package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func auditCommands(remote *commandLine) []*cobra.Command {
	return []*cobra.Command{
		historyCommand(remote), whyCommand(remote), reportsCommand(remote), timelineCommand(remote), histogramCommand(remote), catalogCommand(remote), diffCommand(remote), eventsCommand(remote), replayCommand(remote),
		revertCommand(remote), checkpointCommand(remote), verifyCommand(remote),
	}
}

// historyOf asks for the history of an instance (SERVICE/ID), of a service (SERVICE) or of everything ("").
func (c *commandLine) historyOf(arg string) (q client.HistoryQuery, err error) {
	switch {
	case arg == "":
	case strings.Contains(arg, "/"):
		q.Instance, err = c.instance(arg)
	default:
		q.Service, err = c.service(arg)
	}
	return q, err
}

func historyCommand(remote *commandLine) *cobra.Command {
	var from, to momentFlag
	var actor, via, reason string
	var types []string
	var limit int
	var oldest bool
	c := &cobra.Command{
		Use:   "history [SERVICE[/ID]]",
		Short: "Tell what happened: to an instance, a service's instances, or all",
		Example: "  rollcall history checkout/a-1\n  rollcall history checkout --from '2h ago' --type LeaseExpired,InstanceDeregistered\n" +
			"  rollcall history --actor deploy-bot --reason 'scaled down'",
		Args: cobra.MaximumNArgs(1),
	}
	f := c.Flags()
	momentVar(f, &from, "from", "only from this moment on: "+momentWords)
	momentVar(f, &to, "to", "only up to this moment")
	f.StringVar(&actor, "actor", "", "only by this actor")
	f.StringVar(&via, "via", "", "only by this way: http, cli, expiry …")
	f.StringVar(&reason, "reason", "", "only with this text in the reason or output")
	f.StringSliceVar(&types, "type", nil, "only events of this type; may be given again")
	f.IntVar(&limit, "limit", 100, "at most so many entries")
	f.BoolVar(&oldest, "oldest", false, "oldest first")
	c.RunE = func(c *cobra.Command, args []string) error {
		if limit < 1 {
			return usageError{errors.New("--limit must be at least 1")}
		}
		q, err := remote.historyOf(strings.Join(args, ""))
		if err != nil {
			return err
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		q.Namespace = remote.scopeOf(c, types)
		q.From, q.To, q.Actor, q.Via, q.Reason, q.Types, q.Oldest = from.moment, to.moment, actor, via, reason, types, oldest
		all := wire.HistoryPage{Entries: []wire.HistoryEntry{}}
		for {
			q.Limit = min(limit-len(all.Entries), 1000)
			page, err := registry.History(c.Context(), q)
			if err != nil {
				return err
			}
			all.Entries = append(all.Entries, page.Value.Entries...)
			if all.Heartbeats == nil {
				all.Heartbeats = page.Value.Heartbeats
			}
			if page.Value.Next == "" || len(all.Entries) >= limit {
				break
			}
			q.Cursor = page.Value.Next
		}
		found := map[string]any{"entries": all.Entries, "heartbeats": all.Heartbeats}
		return remote.printValue(c, found, func(w io.Writer) error {
			if len(args) == 0 {
				title(w, "history of %s", scopeText(q.Namespace))
			} else {
				title(w, "history of %s in namespace %s", args[0], remote.namespace)
			}
			return historyTable(w, all)
		})
	}
	return c
}

// scopeOf is the scope of a history or of events. Types that are of no namespace are looked for in the whole registry.
func (c *commandLine) scopeOf(cmd *cobra.Command, types []string) string {
	if !cmd.Flags().Changed("ns") && !queries.OfNamespaces(types) {
		return ""
	}
	return c.scope()
}

// logScope is the scope of commands that read the log itself. The log is one for all namespaces, and an export that left
// some out without a word would be no export: a namespace counts only where it was named.
func (c *commandLine) logScope(cmd *cobra.Command, types []string, service string) string {
	if !c.chosen && service == "" {
		return ""
	}
	return c.scopeOf(cmd, types)
}

func scopeText(namespace string) string {
	if namespace == "" {
		return "all namespaces"
	}
	return "namespace " + namespace
}

func historyTable(w io.Writer, page wire.HistoryPage) error {
	err := table(w, "TIME\tPOSITION\tINSTANCE\tREV\tWHAT\tACTOR\tFROM\tVIA", func(row func(...any)) {
		for _, e := range page.Entries {
			row(stamp(e.RecordedAt), e.Position, instanceOf(&e), e.Revision, oneLine(e.Summary), dash(e.Actor), dash(e.Source), dash(e.Via))
			for _, change := range e.Changes {
				if e.Type == domain.TypeInstanceUpdated {
					row("", "", "", "", fmt.Sprintf("  %s: %s → %s", change.Field, compact(change.From), compact(change.To)), "", "", "")
				}
			}
		}
	})
	if err != nil || len(page.Heartbeats) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return table(w, "HOUR\tHEARTBEATS\tEXPECTED\tLONGEST GAP\tLAST", func(row func(...any)) {
		for _, h := range page.Heartbeats {
			row(h.Hour.UTC().Format("2006-01-02 15:04Z"), h.Received, h.Expected, time.Duration(h.LongestGap).Round(time.Millisecond), stamp(h.Last))
		}
	})
}

func instanceOf(e *wire.HistoryEntry) string {
	if e.ID == "" {
		return "-"
	}
	return e.Namespace + "/" + e.Service + "/" + e.ID
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// compact is a value of JSON in one line; what is not there is a dash.
func compact(v any) string {
	if s, ok := v.(string); ok && s != "" {
		return oneLine(s)
	}
	if v == nil || v == "" {
		return "-"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(b)
}

func whyCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use:     "why SERVICE/ID",
		Short:   "Say in plain English why an instance is gone, or that it is there",
		Example: "  rollcall why checkout/a-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := remote.instance(args[0])
			if err != nil {
				return err
			}
			registry, err := remote.client()
			if err != nil {
				return err
			}
			page, err := registry.History(c.Context(), client.HistoryQuery{Instance: key, Limit: 20})
			if never := new(wire.Problem); errors.As(err, &never) && never.Type == wire.UnknownInstance {
				return notFound("instance " + key.String() + " was never registered")
			}
			if err != nil {
				return err
			}
			return remote.print(c, page.Raw, func(w io.Writer) error {
				if err := explain(w, page.Value, time.Now()); err != nil {
					return err
				}
				explainHeld(c.Context(), w, registry, key)
				deaf, err := interruptions(c.Context(), registry, &page.Value.Entries[0])
				if err != nil || len(deaf) == 0 {
					return err
				}
				fmt.Fprintln(w, "The registry itself, near then:")
				for _, e := range deaf {
					fmt.Fprintf(w, "  %s\n", oneLine(e.Summary))
				}
				return nil
			})
		},
	}
}

// explainHeld says that an instance is there only because expiry is held. An instance that is gone has nothing to be said of.
func explainHeld(ctx context.Context, w io.Writer, registry *client.Client, key domain.Key) {
	reply, err := registry.Instance(ctx, key, "")
	held := reply.Value.ExpiryHeld
	if err != nil || held == nil {
		return // the answer itself is there
	}
	fmt.Fprintf(w, "Note: expiry is held in namespace %s since %s, by %s%s.\n", key.Namespace, stamp(held.Since), dash(held.Actor), because(held.Reason))
	until := reply.Value.LeaseExpiresAt
	if now := time.Now(); until != nil && until.Before(now) {
		fmt.Fprintf(w, "Its lease is overdue since %s (%s ago): no heartbeat renewed it, and the instance stays because expiry is held.\n",
			stamp(*until), queries.Spaced(now.Sub(*until).Round(time.Second)))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + oneLine(reason)
}

// toldOf is how many of the newest entries explain tells. More are looked at for what flaps.
const toldOf = 10

// explain tells the newest entries as a story, the answer first.
func explain(w io.Writer, page wire.HistoryPage, now time.Time) error {
	last, before := &page.Entries[0], page.Entries[1:min(len(page.Entries), toldOf)]
	if len(before) > 0 && last.Type == domain.TypeTrafficChanged && ends(before[0].Type) {
		fmt.Fprintf(w, "After it was gone, at %s: %s (by %s).\n", stamp(last.RecordedAt), oneLine(last.Summary), dash(last.Actor))
		last, before = &before[0], before[1:]
	}
	when := fmt.Sprintf("%s (%s ago)", stamp(last.RecordedAt), queries.Spaced(now.Sub(last.RecordedAt).Round(time.Second)))
	switch last.Type {
	case domain.TypeInstanceDeregistered:
		if why, removed := strings.CutPrefix(oneLine(last.Summary), "removed: "); removed {
			fmt.Fprintf(w, "%s is gone: it was removed at %s.\n", instanceOf(last), when)
			fmt.Fprintf(w, "Who:  nobody; the registry took it out because a check stayed critical.\n")
			fmt.Fprintf(w, "Why:  %s\n", why)
			break
		}
		fmt.Fprintf(w, "%s is gone: it was deregistered at %s.\n", instanceOf(last), when)
		fmt.Fprintf(w, "Who:  %s, from %s, via %s (request %s)\n", dash(last.Actor), dash(last.Source), dash(last.Via), dash(last.RequestID))
		fmt.Fprintf(w, "Why:  %s\n", strings.TrimPrefix(strings.TrimPrefix(oneLine(last.Summary), "deregistered"), ": ")+noReason(last.Summary))
	case domain.TypeLeaseExpired:
		fmt.Fprintf(w, "%s is gone: its lease expired at %s.\n", instanceOf(last), when)
		fmt.Fprintf(w, "Who:  nobody; the registry took it out because no heartbeat came.\n")
		fmt.Fprintf(w, "Why:  %s\n", oneLine(last.Summary))
	default:
		fmt.Fprintf(w, "%s is registered. The last thing that happened to it, at %s: %s (by %s).\n", instanceOf(last), when, oneLine(last.Summary), dash(last.Actor))
	}
	for _, id := range flapping(page.Entries) {
		fmt.Fprintf(w, "Check %s is flapping: it changed %d times within %s.\n", id, domain.FlappingChanges, queries.Spaced(domain.FlappingWithin))
	}
	if n := len(page.Heartbeats); n > 0 {
		h := page.Heartbeats[n-1]
		fmt.Fprintf(w, "Last heartbeat at %s; %d in that hour, the longest gap %s.\n", stamp(h.Last), h.Received, queries.Spaced(time.Duration(h.LongestGap)))
	}
	if len(before) > 0 {
		fmt.Fprintln(w, "Before that:")
		for _, e := range before {
			fmt.Fprintf(w, "  %s  %s (by %s)\n", stamp(e.RecordedAt), oneLine(e.Summary), dash(e.Actor))
		}
	}
	return nil
}

// flapping are the checks that flapped at the time of the newest entry, as its changes among the entries tell.
func flapping(entries []wire.HistoryEntry) (ids []string) {
	changed := map[string]int{}
	for _, e := range entries {
		if e.Type != domain.TypeCheckChanged || entries[0].RecordedAt.Sub(e.RecordedAt) > domain.FlappingWithin {
			continue
		}
		var data struct{ Check string }
		if json.Unmarshal(e.Data, &data) != nil {
			continue
		}
		if changed[data.Check]++; changed[data.Check] == domain.FlappingChanges {
			ids = append(ids, data.Check)
		}
	}
	return ids
}

// ends says whether an event of that type takes an instance out of the catalog.
func ends(eventType string) bool {
	return eventType == domain.TypeInstanceDeregistered || eventType == domain.TypeLeaseExpired
}

func noReason(summary string) string {
	if summary == "deregistered" {
		return "no reason was given"
	}
	return ""
}

// placeName names a moment as the server understood it.
func placeName(p wire.Place) string {
	if p.Time != nil {
		return fmt.Sprintf("%s (position %s)", stamp(*p.Time), p.Position)
	}
	return "position " + p.Position.String()
}

func catalogCommand(remote *commandLine) *cobra.Command {
	var at momentFlag
	c := &cobra.Command{
		Use:     "catalog",
		Short:   "List everything that is registered, or was --at a moment",
		Example: "  rollcall catalog --at '5m ago'\n  rollcall catalog --at 2026-03-01T03:12:00Z",
		Args:    cobra.NoArgs,
	}
	momentVar(c.Flags(), &at, "at", atUsage)
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		all, err := registry.Catalog(c.Context(), remote.scope(), at.moment)
		if err != nil {
			return err
		}
		names := func() (names []string) {
			for _, s := range all.Value.Services {
				for _, i := range s.Instances {
					names = append(names, remote.nameOf(i.Namespace, i.Service+"/"+i.ID))
				}
			}
			return names
		}
		return remote.show(c, all.Raw, names, func(w io.Writer) error {
			title(w, "catalog of %s at %s", remote.scopeWords(), placeName(all.Value.Place))
			if all.Value.Note != "" {
				fmt.Fprintln(w, all.Value.Note)
			}
			return table(w, "NAMESPACE\tSERVICE\tID\tADDRESS\tSTATUS\tTRAFFIC\tVERSION\tSINCE|PORTS\tZONE\tWEIGHT\tTAGS\tEPOCH\tOWNER", func(row func(...any)) {
				for _, s := range all.Value.Services {
					for _, i := range s.Instances {
						row(i.Namespace, i.Service, i.ID, i.Address, i.Status, i.Traffic, dash(i.Version), stamp(i.RegisteredAt), dash(portsText(i.Ports)), dash(i.Zone), i.Weight, dash(strings.Join(i.Tags, ",")), i.Epoch, dash(i.Owner))
					}
				}
			})
		})
	}
	return c
}

func diffCommand(remote *commandLine) *cobra.Command {
	var from, to momentFlag
	c := &cobra.Command{
		Use:     "diff --from MOMENT [--to MOMENT]",
		Short:   "Say what changed between two moments, and which event did it",
		Example: "  rollcall diff --from '1h ago'\n  rollcall diff --from 2026-03-01T03:00:00Z --to 2026-03-01T03:15:00Z",
		Args:    cobra.NoArgs,
	}
	momentVar(c.Flags(), &from, "from", "earlier moment: "+momentWords)
	momentVar(c.Flags(), &to, "to", "later moment; now when left out")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if from.moment == "" {
			return usageError{errors.New("--from is needed")}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := registry.DiffIn(c.Context(), remote.scope(), from.moment, to.moment)
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(w io.Writer) error {
			d := reply.Value
			fmt.Fprintf(w, "%s, from %s to %s: %d added, %d removed, %d changed\n", remote.scopeWords(), placeName(d.From), placeName(d.To), len(d.Added), len(d.Removed), len(d.Changed))
			showChanges(w, "+", d.Added)
			showChanges(w, "-", d.Removed)
			showChanges(w, "~", d.Changed)
			return nil
		})
	}
	return c
}

func showChanges(w io.Writer, sign string, changes []wire.InstanceChange) {
	for _, c := range changes {
		fmt.Fprintf(w, "%s %s/%s/%s", sign, c.Namespace, c.Service, c.ID)
		if e := c.Event; e != nil {
			fmt.Fprintf(w, "  %s (%s, by %s)", oneLine(e.Summary), stamp(e.RecordedAt), dash(e.Actor))
		}
		fmt.Fprintln(w)
		for _, f := range c.Fields {
			fmt.Fprintf(w, "    %s: %s → %s\n", f.Field, compact(f.From), compact(f.To))
		}
	}
}

// instanceKeys are the names of a catalog's instances.
func instanceKeys(services []wire.ServiceInstances) map[string]bool {
	keys := map[string]bool{}
	for _, s := range services {
		for _, i := range s.Instances {
			keys[keyOf(&i)] = true
		}
	}
	return keys
}

func keyOf(i *wire.Instance) string { return i.Namespace + "/" + i.Service + "/" + i.ID }
