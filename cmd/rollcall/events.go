package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxLine is the longest event that a reader takes.
const maxLine = 64 << 20

// eventSelection is which events a subcommand asks for.
type eventSelection struct {
	from, to          momentFlag
	service, instance string
	types             []string
	heartbeats        bool
}

func (s *eventSelection) flags(c *cobra.Command, to bool) {
	f := c.Flags()
	momentVar(f, &s.from, "from", "only from this moment on: "+momentWords)
	if to {
		momentVar(f, &s.to, "to", "only up to this moment")
	}
	f.StringVar(&s.service, "service", "", "only of this service (in --ns)")
	f.StringVar(&s.instance, "instance", "", "only of this instance of the service")
	f.StringSliceVar(&s.types, "type", nil, "only events of this type; may be given again")
	f.BoolVar(&s.heartbeats, "heartbeats", false, "heartbeats, too")
}

func (s *eventSelection) query(c *cobra.Command, remote *commandLine) client.EventQuery {
	return client.EventQuery{
		Namespace: remote.logScope(c, s.types, s.service), Service: s.service, Instance: s.instance, Types: s.types, Heartbeats: s.heartbeats,
		From: s.from.moment, To: s.to.moment,
	}
}

func eventsCommand(remote *commandLine) *cobra.Command {
	c := group("events", "Export events, or follow them as they come")
	c.AddCommand(exportCommand(remote), tailCommand(remote))
	return c
}

func tailCommand(remote *commandLine) *cobra.Command {
	var s eventSelection
	c := &cobra.Command{
		Use:   "tail",
		Short: "Follow events as they come: readable on a terminal, JSON lines elsewhere or with -o json",
		Args:  cobra.NoArgs,
	}
	s.flags(c, false)
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		raw := remote.forPrograms() || !isTerminal(out)
		if !raw {
			title(remote.page(out), "events of %s", scopeText(s.query(c, remote).Namespace))
		}
		for e, err := range registry.StreamEvents(c.Context(), s.query(c, remote)) {
			if c.Context().Err() != nil {
				return nil // interrupted: the end of what was asked for
			}
			if err != nil {
				return err
			}
			if raw {
				err = remote.writeItem(out, e.Raw)
			} else {
				_, err = fmt.Fprintln(out, eventLine(&e.RecordedEvent))
			}
			if err != nil {
				return err
			}
		}
		return nil
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
	return fmt.Sprintf("%s  %s  %s", stamp(e.RecordedAt), whose, what)
}

func exportCommand(remote *commandLine) *cobra.Command {
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
		registry, err := remote.client()
		if err != nil {
			return err
		}
		query := s.query(c, remote)
		if args[0] != "-" {
			return export(c, remote, registry, query, args[0])
		}
		if remote.output == asYAML {
			return usageError{errors.New("rollcall events export - has no output yaml: it writes JSON lines")}
		}
		out := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
		for e, err := range registry.Events(c.Context(), query) {
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			if _, err := fmt.Fprintf(out, "%s\n", e.Raw); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	return c
}

// export adds to a file the events that it does not have.
func export(cmd *cobra.Command, remote *commandLine, registry *client.Client, query client.EventQuery, path string) (err error) {
	head, err := registry.Head(cmd.Context())
	if err != nil {
		return err // no file is made: an empty one would pass for an export without events
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	last, err := resumePoint(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	bar := newProgress(cmd.ErrOrStderr(), "exporting", "positions", int64(head.Number))
	out := bufio.NewWriterSize(f, 1<<20)
	if last != nil { // its event comes again, to be compared
		query.From = client.AtPosition(wire.PositionOf(last))
	}
	n, position, err := exportAfter(cmd.Context(), registry, query, last, func(e *client.Event) error {
		bar.set(int64(e.Position))
		_, _ = out.Write(e.Raw)
		return out.WriteByte('\n')
	})
	bar.end()
	if refused := refusedResume(err, last); refused != nil {
		return fmt.Errorf("%s %w", path, refused)
	}
	if err := errors.Join(out.Flush(), f.Sync()); err != nil { // how many of the events are in the file is not known
		return fmt.Errorf("%w; run it again to go on", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; %d events were added, run it again to go on", path, err, n)
	}
	done := map[string]any{"file": path, "added": n, "position": position, "namespace": query.Namespace}
	return remote.printValue(cmd, done, func(io.Writer) error {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s of %s added to %s, up to position %d\n", count(n, "event"), scopeText(query.Namespace), path, position)
		return err
	})
}

// refusedResume says why a file cannot be completed: it ends with an event that the registry does not have, after a
// restore or because it is another registry. It is nil for any other error. Lines that the registry never had must not
// stand beside those that it has.
func refusedResume(err error, last *eventstore.RecordedEvent) error {
	var refused *wire.Problem
	if last == nil || !errors.As(err, &refused) {
		return nil
	}
	end := wire.PositionOf(last)
	switch {
	case refused.Type == wire.OtherTimeline && refused.Fork != nil:
		return fmt.Errorf("ends with an event at position %s that the registry does not have any more: a backup was restored, or the log lost its end, and only what is up to position %d is in both. "+
			"Move the file aside and export anew, or remove its lines behind position %d and run this again", end, refused.Fork.Number, refused.Fork.Number)
	case refused.Type == wire.OtherTimeline:
		return fmt.Errorf("ends with an event at position %s, on a timeline that the registry has never been on: it is another registry's, or one that was restored from the same backup. Export to another file", end)
	case refused.Field == "from":
		return fmt.Errorf("ends with an event at position %s, behind the newest of the registry: it is another registry's, or the log was lost. Export to another file", end)
	}
	return nil
}

// exportAfter writes the events that come after the last one that is there already, with which the query
// begins; nil: all of them. It counts them, and says up to which position they are.
func exportAfter(ctx context.Context, registry *client.Client, query client.EventQuery, last *eventstore.RecordedEvent, write func(*client.Event) error) (n int, position eventstore.Position, err error) {
	if last != nil {
		position = last.Position
	}
	for e, err := range registry.Events(ctx, query) {
		if err != nil {
			return n, position, err
		}
		if last != nil { // the first one is that which the file ends with
			if e.ID != last.ID || e.Position != last.Position {
				return n, position, errors.New("it ends with another event than the registry has at that position: it is another registry's, or another selection")
			}
			last = nil
			continue
		}
		if err := write(&e); err != nil {
			return n, position, err
		}
		n, position = n+1, e.Position
	}
	return n, position, nil
}

var errExporting = errors.New("another export is writing to it")

var errNoEvents = errors.New("it is there, and is not a file of events")

// cutShort says whether the only line of a file is the beginning of an event's, with which an export broke off: a crash may have left zeros in
// its place. Any other file is not the registry's to empty.
func cutShort(line []byte) bool {
	const begins = `{"position":"`
	written := bytes.TrimRight(line, "\x00")
	n := min(len(written), len(begins))
	return string(written[:n]) == begins[:n]
}

// resumePoint finds the last whole line's event, cuts off what follows it, and leaves the file at
// its end. It is nil in an empty file.
func resumePoint(f *os.File) (*eventstore.RecordedEvent, error) {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, durable.ErrNotRegular) // a read of a pipe would wait
	}
	if errors.Is(durable.Lock(f), durable.ErrLocked) { // until f is closed: what another export has half written is not for this one to cut off
		return nil, errExporting
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return nil, err
	}
	var tail []byte
	at := size
	for step := int64(64 << 10); at > 0 && bytes.Count(tail, []byte{'\n'}) < 2 && len(tail) < maxLine; step *= 2 {
		tail = make([]byte, min(step, size)) // it is read anew, twice as long each time: an event may have megabytes
		at = size - int64(len(tail))
		if _, err := f.ReadAt(tail, at); err != nil {
			return nil, err
		}
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 { // one line, cut short
		if at > 0 || !cutShort(tail) {
			return nil, errNoEvents
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return nil, f.Truncate(0)
	}
	e, err := eventstore.ParseJSON(tail[bytes.LastIndexByte(tail[:end], '\n')+1 : end])
	if err != nil || e.Position == 0 {
		return nil, errNoEvents
	}
	keep := at + int64(end) + 1
	if err := f.Truncate(keep); err != nil {
		return nil, err
	}
	_, err = f.Seek(keep, io.SeekStart)
	return &e, err
}
