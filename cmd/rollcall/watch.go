package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func watchCommand(remote *commandLine) *cobra.Command {
	var ready bool
	c := &cobra.Command{
		Use:   "watch [SERVICE]",
		Short: "Follow a service, or everything: a live table on a terminal, JSON lines elsewhere",
		Long: `Follows the catalog as it changes. On a terminal it shows a live table; elsewhere, or with -o json, a
JSON line for the snapshot and one for every change. When the server goes away it goes on by itself
where it was, once the server is back.`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().BoolVar(&ready, "ready", false, "only instances that may get traffic")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		query := client.FollowQuery{InstanceFilter: client.InstanceFilter{Ready: ready}, Namespace: remote.scope()}
		if len(args) == 1 {
			if query.Service, err = remote.service(args[0]); err != nil {
				return err
			}
		}
		out := c.OutOrStdout()
		var show watcher = &lineWatcher{out, remote}
		if !remote.forPrograms() && isTerminal(out) {
			show = &tableWatcher{out: out, title: strings.Join(args, ""), instances: map[domain.Key]wire.Instance{}}
		}
		query.Lost = show.trouble
		for u, err := range registry.Follow(c.Context(), query) {
			if err != nil {
				return err
			}
			if err := show.update(&u); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// watcher is shown what a stream tells.
type watcher interface {
	update(u *client.Update) error
	trouble(err error) // the connection is lost; it is tried again
}

// lineWatcher writes JSON lines.
type lineWatcher struct {
	out    io.Writer
	remote *commandLine
}

func (w *lineWatcher) update(u *client.Update) error {
	return w.remote.writeItem(w.out, fmt.Appendf(nil, `{"event":%q,"data":%s}`, u.Kind, u.Raw))
}

func (w *lineWatcher) trouble(error) {}

// tableWatcher keeps a copy and draws it anew after every change.
type tableWatcher struct {
	out       io.Writer
	title     string
	instances map[domain.Key]wire.Instance
	news      []string // the last changes, newest last
	lost      error
}

// newsLines is how many changes are shown under the table.
const newsLines = 8

func (w *tableWatcher) update(u *client.Update) error {
	w.lost = nil
	u.Apply(w.instances)
	if c := u.Change; c != nil {
		w.news = append(w.news, fmt.Sprintf("%s  %s/%s/%s  %s (by %s)", c.RecordedAt.UTC().Format("15:04:05.000Z"), c.Namespace, c.Service, c.ID, oneLine(c.Summary), dash(c.Actor)))
		w.news = w.news[max(0, len(w.news)-newsLines):]
	}
	return w.draw()
}

func (w *tableWatcher) trouble(err error) {
	w.lost = err
	_ = w.draw() // a terminal that is gone ends the command elsewhere
}

func (w *tableWatcher) draw() error {
	var b strings.Builder
	b.WriteString("\x1b[H\x1b[2J")
	fmt.Fprintf(&b, "%s  %d instances  %s\n", cmp.Or(w.title, "everything"), len(w.instances), time.Now().Format(time.TimeOnly))
	if w.lost != nil {
		fmt.Fprintf(&b, "\x1b[7m %v; trying again \x1b[0m\n", w.lost)
	}
	b.WriteByte('\n')
	err := table(&b, "INSTANCE\tADDRESS\tSTATUS\tTRAFFIC\tVERSION\tZONE", func(row func(...any)) {
		for _, key := range slices.SortedFunc(maps.Keys(w.instances), byName) {
			i := w.instances[key]
			row(key, i.Address, i.Status, i.Traffic, dash(i.Version), dash(i.Zone))
		}
	})
	fmt.Fprintf(&b, "\n%s\n", strings.Join(w.news, "\n"))
	_, writeErr := io.WriteString(w.out, b.String())
	return errors.Join(err, writeErr)
}

func byName(a, b domain.Key) int { return cmp.Compare(a.String(), b.String()) }
