package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tmaxmax/go-sse"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func watchCommand(remote *client) *cobra.Command {
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
		path, query := "/v1/streams/catalog", url.Values{"ns": {""}}
		if len(args) == 1 {
			path, query = "/v1/streams/services/"+url.PathEscape(args[0]), url.Values{"ns": {remote.namespace}}
		} else if c.Flags().Changed("ns") {
			query.Set("ns", remote.namespace)
		}
		if ready {
			query.Set("ready", "true")
		}
		out := c.OutOrStdout()
		var show watcher = &lineWatcher{out}
		if remote.output != "json" && isTerminal(out) {
			show = &tableWatcher{out: out, title: strings.Join(args, "")}
		}
		return remote.follow(c.Context(), path, query, show)
	}
	return c
}

// watcher is shown what a stream tells.
type watcher interface {
	event(e sse.Event) error
	trouble(err error) // the connection is lost; it is tried again
}

// Pauses between two attempts to reach a server that is away.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// follow shows a stream until the context ends, and resumes it whenever it breaks.
func (c *client) follow(ctx context.Context, path string, query url.Values, show watcher) error {
	lastID, wait, connected := "", firstPause, false
	for {
		seen, err := c.followOnce(ctx, path, query, &lastID, show)
		connected = connected || seen
		if ctx.Err() != nil {
			return nil
		}
		var refused *problem
		if errors.As(err, &refused) && refused.Status < 500 || !connected && err != nil {
			return err // it is not the connection that is wrong
		}
		if seen {
			wait = firstPause
		}
		show.trouble(err)
		pause(ctx, wait)
		wait = min(2*wait, maxPause)
	}
}

func (c *client) followOnce(ctx context.Context, path string, query url.Values, lastID *string, show watcher) (seen bool, err error) {
	r, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return false, err
	}
	if *lastID != "" {
		r.Header.Set("Last-Event-ID", *lastID)
	}
	resp, err := streamClient.Do(r)
	if err != nil {
		return false, fmt.Errorf("no answer from %s: %w", c.url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		body, err := io.ReadAll(resp.Body)
		return false, errors.Join(err, refusal(resp, body))
	}
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxLine}) {
		if err != nil {
			return true, fmt.Errorf("the stream from %s broke off: %w", c.url, err)
		}
		*lastID = e.LastEventID
		if err := show.event(e); err != nil {
			return true, err
		}
	}
	return true, fmt.Errorf("%s ended the stream", c.url)
}

// lineWatcher writes JSON lines.
type lineWatcher struct{ out io.Writer }

func (w *lineWatcher) event(e sse.Event) error {
	_, err := fmt.Fprintf(w.out, "{\"event\":%q,\"data\":%s}\n", e.Type, e.Data)
	return err
}

func (w *lineWatcher) trouble(error) {}

// tableWatcher keeps a copy and draws it anew after every change.
type tableWatcher struct {
	out       io.Writer
	title     string
	instances map[string]wire.Instance
	news      []string // the last changes, newest last
	lost      error
}

// newsLines is how many changes are shown under the table.
const newsLines = 8

func (w *tableWatcher) event(e sse.Event) error {
	w.lost = nil
	if e.Type == "change" {
		var c wire.Change
		if err := json.Unmarshal([]byte(e.Data), &c); err != nil {
			return err
		}
		key := c.Namespace + "/" + c.Service + "/" + c.ID
		delete(w.instances, key)
		if c.Op == wire.Put {
			w.instances[key] = *c.Instance
		}
		w.news = append(w.news, fmt.Sprintf("%s  %s  %s (by %s)", c.RecordedAt.Format("15:04:05.000"), key, oneLine(c.Summary), dash(c.Actor)))
		w.news = w.news[max(0, len(w.news)-newsLines):]
		return w.draw()
	}
	var document struct {
		Instances []wire.Instance
		Services  []wire.ServiceInstances
	}
	if err := json.Unmarshal([]byte(e.Data), &document); err != nil {
		return err
	}
	w.instances = map[string]wire.Instance{}
	for _, s := range append(document.Services, wire.ServiceInstances{Instances: document.Instances}) {
		for _, i := range s.Instances {
			w.instances[keyOf(&i)] = i
		}
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
		for _, key := range slices.Sorted(maps.Keys(w.instances)) {
			i := w.instances[key]
			row(key, i.Address, i.Status, i.Traffic, dash(i.Version), dash(i.Zone))
		}
	})
	fmt.Fprintf(&b, "\n%s\n", strings.Join(w.news, "\n"))
	_, writeErr := io.WriteString(w.out, b.String())
	return errors.Join(err, writeErr)
}
