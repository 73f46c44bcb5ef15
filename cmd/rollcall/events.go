package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// maxLine is the longest event that a reader takes.
const maxLine = 64 << 20

// eventSelection is which events a subcommand asks for.
type eventSelection struct {
	from, to, service, instance string
	types                       []string
	heartbeats                  bool
}

func (s *eventSelection) flags(c *cobra.Command, to bool) {
	f := c.Flags()
	f.StringVar(&s.from, "from", "", `only from this moment on: RFC 3339 time, position, or "5m ago"`)
	if to {
		f.StringVar(&s.to, "to", "", "only up to this moment")
	}
	f.StringVar(&s.service, "service", "", "only of this service (in --ns)")
	f.StringVar(&s.instance, "instance", "", "only of this instance of the service")
	f.StringSliceVar(&s.types, "type", nil, "only events of this type; may be given again")
	f.BoolVar(&s.heartbeats, "heartbeats", false, "heartbeats, too")
}

func (s *eventSelection) query(c *cobra.Command, remote *client) url.Values {
	q := url.Values{"ns": {""}}
	if s.service != "" || c.Flags().Changed("ns") {
		q.Set("ns", remote.namespace)
	}
	for name, value := range map[string]string{"from": s.from, "to": s.to, "service": s.service, "instance": s.instance, "type": strings.Join(s.types, ",")} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if s.heartbeats {
		q.Set("heartbeats", "true")
	}
	return q
}

// streamClient waits for a reply's beginning, not for its end.
var streamClient = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second, Proxy: http.ProxyFromEnvironment}}

// stream yields the lines of a reply.
func (c *client) stream(ctx context.Context, path string, query url.Values, line func([]byte) error) error {
	r, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	resp, err := streamClient.Do(r)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", c.url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		body, err := io.ReadAll(resp.Body)
		return errors.Join(err, refusal(resp, body))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if err := line(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the answer from %s broke off: %w", c.url, err)
	}
	return nil
}

func eventsCommand(remote *client) *cobra.Command {
	c := &cobra.Command{Use: "events", Short: "Export events, or follow them as they come", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(exportCommand(remote), tailCommand(remote))
	return c
}

func tailCommand(remote *client) *cobra.Command {
	var s eventSelection
	c := &cobra.Command{
		Use:   "tail",
		Short: "Follow events as they come: readable on a terminal, JSON lines elsewhere or with -o json",
		Args:  cobra.NoArgs,
	}
	s.flags(c, false)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := s.query(c, remote)
		query.Set("follow", "true")
		if s.from == "" {
			query.Set("from", "now")
		}
		out := c.OutOrStdout()
		raw := remote.output == "json" || !isTerminal(out)
		return remote.stream(c.Context(), "/v1/events", query, func(line []byte) error {
			if raw {
				_, err := fmt.Fprintf(out, "%s\n", line)
				return err
			}
			e, err := eventstore.ParseJSON(line)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(out, eventLine(&e))
			return err
		})
	}
	return c
}

// eventLine is an event for people.
func eventLine(e *eventstore.RecordedEvent) string {
	what := e.Type
	if event, err := eventstore.Decode(e); err == nil {
		what = oneLine(queries.Words(event, e.RecordedAt))
	}
	whose := string(e.Stream)
	if key, ok := e.Stream.InstanceKey(); ok {
		whose = key.String()
	}
	return fmt.Sprintf("%s  %s  %s", e.RecordedAt.Format("2006-01-02 15:04:05.000"), whose, what)
}

func exportCommand(remote *client) *cobra.Command {
	var s eventSelection
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Write events to a file of JSON lines; run again, it goes on where the file ends",
		Long: `Write events to a file of JSON lines, in the order of their positions. If the file is there, the
export goes on after its last whole line, so one that was interrupted, or yesterday's, is completed.
FILE - writes to standard output.`,
		Args: cobra.ExactArgs(1),
	}
	s.flags(c, true)
	c.RunE = func(c *cobra.Command, args []string) error {
		query := s.query(c, remote)
		if args[0] == "-" {
			out := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			err := remote.stream(c.Context(), "/v1/events", query, func(line []byte) error {
				_, _ = out.Write(line)
				return out.WriteByte('\n')
			})
			return errors.Join(err, out.Flush())
		}
		return remote.export(c, query, args[0])
	}
	return c
}

func (c *client) export(cmd *cobra.Command, query url.Values, path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	last, err := resumePoint(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if last != nil {
		query.Set("from", strconv.FormatUint(uint64(last.Position), 10))
	}
	head, err := c.head(cmd.Context())
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), "exporting", "positions", int64(head))
	out := bufio.NewWriterSize(f, 1<<20)
	n, position := 0, eventstore.Position(0)
	if last != nil {
		position = last.Position
	}
	err = c.stream(cmd.Context(), "/v1/events", query, func(line []byte) error {
		e, err := eventstore.ParseJSON(line)
		if err != nil {
			return err
		}
		if last != nil { // the first one is that which the file ends with
			same := e.ID == last.ID && e.Position == last.Position
			if last = nil; same {
				return nil
			}
			return fmt.Errorf("%s ends with another event than the registry has at that position: it is another registry's, or another selection", path)
		}
		n, position = n+1, e.Position
		bar.set(int64(position))
		_, _ = out.Write(line)
		return out.WriteByte('\n')
	})
	bar.end()
	if err := errors.Join(err, cmd.Context().Err(), out.Flush(), f.Sync()); err != nil {
		return fmt.Errorf("%w; %d events were added, run it again to go on", err, n)
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d events added to %s, up to position %d\n", n, path, position)
	return err
}

// head is the registry's newest position.
func (c *client) head(ctx context.Context) (eventstore.Position, error) {
	r, err := c.request(ctx, http.MethodGet, "/v1/services", nil, nil)
	if err != nil {
		return 0, err
	}
	resp, err := httpClient.Do(r)
	if err != nil {
		return 0, fmt.Errorf("no answer from %s: %w", c.url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, refusal(resp, body)); err != nil {
		return 0, err
	}
	p, err := strconv.ParseUint(resp.Header.Get("Rollcall-Position"), 10, 64)
	return eventstore.Position(p), err
}

// resumePoint finds the last whole line's event, cuts off what follows it, and leaves the file at
// its end. It is nil in an empty file.
func resumePoint(f *os.File) (*eventstore.RecordedEvent, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return nil, err
	}
	const step = 64 << 10
	var tail []byte
	at := size
	for at > 0 && (bytes.Count(tail, []byte{'\n'}) < 2) && len(tail) < maxLine {
		n := min(step, at)
		at -= n
		chunk := make([]byte, n)
		if _, err := f.ReadAt(chunk, at); err != nil {
			return nil, err
		}
		tail = append(chunk, tail...)
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 { // one line, cut short
		if at > 0 {
			return nil, errors.New("it is not a file of events")
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return nil, f.Truncate(0)
	}
	e, err := eventstore.ParseJSON(tail[bytes.LastIndexByte(tail[:end], '\n')+1 : end])
	if err != nil || e.Position == 0 {
		return nil, errors.New("it is there, and is not a file of events")
	}
	keep := at + int64(end) + 1
	if err := f.Truncate(keep); err != nil {
		return nil, err
	}
	_, err = f.Seek(keep, io.SeekStart)
	return &e, err
}
