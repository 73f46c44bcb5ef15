package main

import (
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

// oneLine is a text in one line, with misleading characters written visibly.
func oneLine(s string) string { return visibleLine(strings.Join(strings.Fields(s), " ")) }

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
