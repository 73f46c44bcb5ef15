package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// migrateBatch is how many events are appended at once. Both stores take them in their order: the embedded one
// with one commit, the database as it gets them, over one call. What a run leaves that was interrupted is the
// beginning of such a batch.
const migrateBatch = 1000

// migration copies one store to another.
type migration struct {
	from, to   eventstore.Store
	heartbeats bool

	resumed bool                             // the target held events before
	beats   map[eventstore.StreamName]uint64 // how many heartbeats the target has of each stream that was appended to
	last    eventstore.Position              // in the target, of the newest event
	shared  eventstore.Position              // up to which both stores have the same at each position
}

func migrateCommand(remote *commandLine) *cobra.Command {
	var from, to string
	var heartbeats bool
	c := &cobra.Command{
		Use:   "migrate --from STORE --to STORE",
		Short: "Copy every event to another event store, with its id, order, time and metadata",
		Long: `Copies every event from one event store to another: a data folder, or a connection string of
EventStoreDB or KurrentDB. No registry may write to either meanwhile. Run again, it goes on where it
ended. At the end both are compared. If an event of the middle is missing in the target, it says so: then
begin anew with an empty store, for events are never put in between.`,
		Example: "  rollcall migrate --from ./rollcall-data --to 'esdb://127.0.0.1:2113?tls=false'",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&from, "from", "", "data folder or connection string")
	c.Flags().StringVar(&to, "to", "", "data folder or connection string")
	c.Flags().BoolVar(&heartbeats, "heartbeats", true, "heartbeats, too; lifecycle events alone are far fewer")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if from == "" || to == "" || from == to {
			return usageError{errors.New("--from and --to must name two stores")}
		}
		m := migration{heartbeats: heartbeats, beats: make(map[eventstore.StreamName]uint64)}
		if m.from, err = openForMigration(c.Context(), from, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.from.Close()) }()
		if m.to, err = openForMigration(c.Context(), to, false); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.to.Close()) }()
		copied, err := m.run(c)
		if err != nil {
			return fmt.Errorf("%w; run it again to go on", err)
		}
		compared, err := m.compare(c)
		if err != nil {
			return err
		}
		began, err := m.leaveTimeline()
		if err != nil {
			return err
		}
		done := map[string]any{"copied": copied, "compared": compared}
		if began != nil {
			done["timeline"], done["shared"] = began.Timeline, began.After
		}
		return remote.printValue(c, done, func(w io.Writer) error {
			fmt.Fprintf(w, "%d events copied; %d compared: both stores hold the same, in the same order\n", copied, compared)
			if began == nil {
				_, err := fmt.Fprintln(w, "positions in a database are its own: have clients of the source begin anew")
				return err
			}
			_, err := fmt.Fprintf(w, "the target goes on as timeline %s: positions up to %d are those of the source, clients that come with a later one are told to begin anew\n", began.Timeline, began.After)
			return err
		})
	}
	return c
}

func openForMigration(ctx context.Context, store string, readOnly bool) (eventstore.Store, error) {
	quiet := slog.New(slog.DiscardHandler)
	if !isESDB(store) {
		if readOnly {
			if _, err := eventsOf(store); err != nil {
				return nil, err
			}
		}
		return pebblestore.Open(filepath.Join(store, "events"), pebblestore.Options{ReadOnly: readOnly, Filling: !readOnly, Logger: quiet})
	}
	s, err := esdbstore.Open(store, esdbstore.Options{Logger: quiet})
	if err != nil {
		return nil, usageError{err}
	}
	wait, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := s.Ready(wait); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (m *migration) filter() eventstore.Filter {
	prefixes := eventstore.AuditedPrefixes()
	if m.heartbeats {
		prefixes = append(prefixes, eventstore.HeartbeatPrefix)
	}
	return eventstore.Filter{StreamPrefixes: prefixes}
}

// resumeAfter is the position in the source up to which the target has everything. The newest batch is held
// against the source event by event.
func (m *migration) resumeAfter(ctx context.Context) (after eventstore.Position, err error) {
	var newest []eventstore.RecordedEvent
	for e, err := range m.to.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true, Filter: m.filter(), Limit: migrateBatch + 1}) {
		if err != nil {
			return 0, err
		}
		newest = append(newest, e)
	}
	slices.Reverse(newest)
	var first eventstore.RecordedEvent
	for len(newest) > 0 { // heartbeats at the beginning may be past the source's retention
		var found bool
		if first, found, err = m.locate(ctx, &newest[0]); found || err != nil {
			break
		}
		if last := &newest[len(newest)-1]; !newest[0].Stream.IsHeartbeat() || len(newest) == 1 {
			return 0, fmt.Errorf("the target ends with revision %d of %s, which the source does not have: it is another store's", last.Revision, last.Stream)
		}
		newest = newest[1:]
	}
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	m.resumed, m.last = true, newest[len(newest)-1].Position
	next, stop := iter.Pull2(m.from.ReadAll(ctx, eventstore.ReadAllOptions{After: first.Position, Filter: m.filter()}))
	defer stop()
	for i, e, ok := 0, first, true; ; e, err, ok = next() {
		if err != nil {
			return 0, err
		}
		if !ok || !sameEvent(&e, &newest[i]) {
			return 0, fmt.Errorf("the target has revision %d of %s at a place where the source has another event: it cannot be completed in order; begin anew with an empty store", newest[i].Revision, newest[i].Stream)
		}
		if i++; i == len(newest) {
			return e.Position, nil
		}
	}
}

// locate finds an event in the source.
func (m *migration) locate(ctx context.Context, of *eventstore.RecordedEvent) (e eventstore.RecordedEvent, found bool, err error) {
	from := of.Revision
	if of.Stream.IsHeartbeat() {
		from = 0 // what the retention removed shifts revisions
	}
	for e, err := range m.from.ReadStream(ctx, of.Stream, eventstore.ReadOptions{From: from}) {
		if err != nil || e.ID == of.ID {
			return e, err == nil, err
		}
	}
	return e, false, nil
}

func (m *migration) run(c *cobra.Command) (copied int, err error) {
	ctx := c.Context()
	after, err := m.resumeAfter(ctx)
	if err != nil {
		return 0, err
	}
	head, err := m.from.Head(ctx)
	if err != nil {
		return 0, err
	}
	bar := newProgress(c.ErrOrStderr(), "copying", "positions", int64(head))
	defer bar.end()
	batch := make([]eventstore.AppendRequest, 0, migrateBatch)
	enough := 1 // the first alone, so that a right that is missing is found before more are under way
	for e, err := range m.from.ReadAll(ctx, eventstore.ReadAllOptions{After: after, To: head, Filter: m.filter()}) {
		if err != nil {
			return copied, err
		}
		r := eventstore.AppendRequest{Stream: e.Stream, Events: []eventstore.EventData{e.EventData}, At: e.RecordedAt}
		if r.Expected, err = m.expected(ctx, &e); err != nil {
			return copied, err
		}
		if batch = append(batch, r); len(batch) >= enough {
			if err := m.put(ctx, batch); err != nil {
				return copied, err
			}
			copied, batch, enough = copied+len(batch), batch[:0], migrateBatch
			bar.set(int64(e.Position))
		}
	}
	if err := m.put(ctx, batch); err != nil {
		return copied, err
	}
	return copied + len(batch), nil
}

// put appends a batch and holds the target to its order.
func (m *migration) put(ctx context.Context, batch []eventstore.AppendRequest) error {
	if len(batch) == 0 {
		return nil
	}
	results, err := m.to.Append(ctx, nil, slices.Clone(batch)...)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil {
			return r.Err
		}
		if r.Position <= m.last {
			return fmt.Errorf("the target put an event of %s before the one that it was sent after: begin anew with an empty store", batch[i].Stream)
		}
		m.last = r.Position
	}
	return nil
}

// expected is the exact place of an event in its stream of the target, so that an append may be sent again
// whatever became of it. What the retention removed shifts the revisions of heartbeats.
func (m *migration) expected(ctx context.Context, e *eventstore.RecordedEvent) (eventstore.ExpectedRevision, error) {
	if !e.Stream.IsHeartbeat() {
		return eventstore.Unchanged(uint64(e.Revision)), nil
	}
	have, known := m.beats[e.Stream]
	if !known && m.resumed {
		for newest, err := range m.to.ReadStream(ctx, e.Stream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
			if err != nil {
				return eventstore.Any(), err
			}
			have = uint64(newest.Revision) + 1
		}
	}
	m.beats[e.Stream] = have + 1
	return eventstore.Unchanged(have), nil
}

// compare reads both stores side by side.
func (m *migration) compare(c *cobra.Command) (compared int64, err error) {
	ctx := c.Context()
	head, err := m.from.Head(ctx)
	if err != nil {
		return 0, err
	}
	bar := newProgress(c.ErrOrStderr(), "comparing", "positions", int64(head))
	defer bar.end()
	opts := eventstore.ReadAllOptions{Filter: m.filter()}
	next, stop := iter.Pull2(m.to.ReadAll(ctx, opts))
	defer stop()
	before := eventstore.Position(0) // of the event before, in the source
	for a, err := range m.from.ReadAll(ctx, opts) {
		if err != nil {
			return compared, err
		}
		b, err, ok := next()
		if err != nil {
			return compared, err
		}
		if !ok || !sameEvent(&a, &b) {
			return compared, fmt.Errorf("the stores differ: revision %d of %s at position %d has no equal at the same place in the target", a.Revision, a.Stream, a.Position)
		}
		if m.shared == before && a.Position == b.Position {
			m.shared = a.Position
		}
		before = a.Position
		compared++
		bar.set(int64(a.Position))
	}
	if e, err, ok := next(); ok {
		return compared, errors.Join(err, fmt.Errorf("the stores differ: the target goes on with revision %d of %s", e.Revision, e.Stream))
	}
	return compared, nil
}

// leaveTimeline has an embedded target go on as a timeline of its own, so that clients of the source that come back to it
// do not take its positions for those that they know. nil: the target is a database.
func (m *migration) leaveTimeline() (*domain.TimelineBegan, error) {
	store, ok := m.to.(*pebblestore.Store)
	if !ok {
		return nil, nil
	}
	began, err := store.Descend(m.from.Timelines(), m.shared)
	return &began, err
}

func sameEvent(a, b *eventstore.RecordedEvent) bool {
	return a.ID == b.ID && a.Stream == b.Stream && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata) &&
		a.RecordedAt.Equal(b.RecordedAt) && (a.Revision == b.Revision || a.Stream.IsHeartbeat())
}
