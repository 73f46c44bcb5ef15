package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func watchCommand(remote *commandLine) *cobra.Command {
	var ready bool
	c := &cobra.Command{
		Use:   "watch [SERVICE]",
		Short: "Follow a service, or everything: a live table on a terminal, lines elsewhere",
		Long: `Follows the catalog as it changes. On a terminal it shows a live table, which the arrow keys, page up, page down,
home and end scroll, q ends and Ctrl-Z stops. Elsewhere it prints a line for the snapshot and one for every change; with -o json the
lines are JSON. When the server goes away it says so on standard error and goes on by itself where it was, once the server is back.`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().BoolVar(&ready, "ready", false, "only instances that may get traffic")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		query := client.FollowQuery{InstanceFilter: client.InstanceFilter{Ready: ready}, Namespace: remote.scope()}
		title := remote.scopeWords()
		if len(args) == 1 {
			if query.Service, err = remote.service(args[0]); err != nil {
				return err
			}
			title = args[0] + " in namespace " + remote.namespace
		}
		if out := fileOf(c.OutOrStdout()); !remote.forPrograms() && isTerminal(c.OutOrStdout()) {
			return watchOnTerminal(c.Context(), out, newWatchTable(title, coloured(out)), registry, query)
		}
		lines := &lineWatcher{out: c.OutOrStdout(), faults: c.ErrOrStderr(), remote: remote, title: title}
		query.Lost, query.Current = lines.loses, lines.current
		for u, err := range registry.Follow(c.Context(), query) {
			if err != nil {
				return err
			}
			if err := lines.update(&u); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// lineWatcher writes a line for each update: for people in words, for programs as the registry sent it.
type lineWatcher struct {
	out    io.Writer
	faults io.Writer // gets when the registry is lost and when it is back, each once
	remote *commandLine
	title  string
	lost   bool
}

func (w *lineWatcher) loses(cause error) {
	var other *client.OtherRegistry
	if errors.As(cause, &other) {
		fmt.Fprintf(w.faults, "rollcall: %s; beginning anew\n", errorLine(cause))
		return
	}
	if !w.lost {
		w.lost = true
		fmt.Fprintf(w.faults, "rollcall: %s; trying again\n", errorLine(cause))
	}
}

func (w *lineWatcher) current() {
	if w.lost {
		w.lost = false
		fmt.Fprintln(w.faults, "rollcall: the registry is back")
	}
}

func (w *lineWatcher) update(u *client.Update) error {
	if u.Kind != wire.StreamCut {
		w.current()
	}
	if w.remote.forPrograms() {
		return w.remote.writeItem(w.out, fmt.Appendf(nil, `{"event":%q,"data":%s}`, u.Kind, u.Raw))
	}
	_, err := fmt.Fprintln(w.out, visible(strings.Join(w.words(u), "\n")))
	return err
}

func (w *lineWatcher) words(u *client.Update) []string {
	switch u.Kind {
	case wire.StreamChange:
		return []string{newsLine(u.Change)}
	case wire.StreamPanic:
		return []string{panicLine(u.Panics)}
	case wire.StreamCut:
		return []string{"the registry ended the stream: " + oneLine(u.Reason) + "; going on"}
	}
	begins := map[string]string{wire.StreamSnapshot: "", wire.StreamReset: ", anew"}[u.Kind]
	lines := []string{fmt.Sprintf("%s: %s%s", w.title, count(len(u.Instances), "instance"), begins)}
	for _, i := range u.Instances {
		lines = append(lines, fmt.Sprintf("  %s  %s  %s  %s", i.Key(), i.Address, i.Status, i.Traffic))
	}
	return lines
}

// panicLine says which services panic.
func panicLine(all []wire.ServicePanic) string {
	if len(all) == 0 {
		return "no service panics any more"
	}
	return queries.PanicWarning(all)
}

// newsLine says what changed. Its time is one that --at takes.
func newsLine(c *wire.Change) string {
	return fmt.Sprintf("%s  %s/%s/%s  %s (by %s)", stamp(c.RecordedAt), c.Namespace, c.Service, c.ID, oneLine(c.Summary), dash(c.Actor))
}
