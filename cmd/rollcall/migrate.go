package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// migrateBatch is how many events go to an embedded store with one commit.
const migrateBatch = 1000

// migration copies one store to another.
type migration struct {
	from, to   eventstore.Store
	together   int // events that may be appended at once and stay in order
	heartbeats bool
}

func migrateCommand() *cobra.Command {
	var from, to string
	var heartbeats bool
	c := &cobra.Command{
		Use:   "migrate --from STORE --to STORE",
		Short: "Copy every event to another event store, with its id, order, time and metadata",
		Long: `Copies every event from one event store to another: a data folder, or a connection string of
EventStoreDB or KurrentDB. No registry may write to either meanwhile. Run again, it goes on where it
ended. At the end both are compared.`,
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
		m := migration{together: migrateBatch, heartbeats: heartbeats}
		if m.from, err = openForMigration(c.Context(), from, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.from.Close()) }()
		if m.to, err = openForMigration(c.Context(), to, false); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.to.Close()) }()
		if isESDB(to) {
			m.together = 1 // streams of a cluster are appended to side by side: one after the other keeps the order
		}
		copied, err := m.run(c)
		if err != nil {
			return fmt.Errorf("%w; run it again to go on", err)
		}
		compared, err := m.compare(c)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%d events copied; %d compared: both stores hold the same, in the same order\n", copied, compared)
		return err
	}
	return c
}

func openForMigration(ctx context.Context, store string, readOnly bool) (eventstore.Store, error) {
	quiet := slog.New(slog.DiscardHandler)
	if !isESDB(store) {
		return pebblestore.Open(filepath.Join(store, "events"), pebblestore.Options{ReadOnly: readOnly, Logger: quiet})
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

// resumeAfter is the position in the source up to which the target has everything.
func (m *migration) resumeAfter(ctx context.Context) (eventstore.Position, error) {
	for last, err := range m.to.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true, Filter: m.filter(), Limit: 1}) {
		if err != nil {
			return 0, err
		}
		from := last.Revision
		if last.Stream.IsHeartbeat() {
			from = 0 // what the retention removed shifts revisions
		}
		for e, err := range m.from.ReadStream(ctx, last.Stream, eventstore.ReadOptions{From: from}) {
			if err != nil {
				return 0, err
			}
			if e.ID == last.ID {
				return e.Position, nil
			}
		}
		return 0, fmt.Errorf("the target ends with revision %d of %s, which the source does not have: it is another store's", last.Revision, last.Stream)
	}
	return 0, nil
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
	var batch []eventstore.AppendRequest
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		results, err := m.to.Append(ctx, nil, batch...)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
		copied, batch = copied+len(batch), nil
		return nil
	}
	for e, err := range m.from.ReadAll(ctx, eventstore.ReadAllOptions{After: after, To: head, Filter: m.filter()}) {
		if err != nil {
			return copied, err
		}
		r := eventstore.AppendRequest{Stream: e.Stream, Events: []eventstore.EventData{e.EventData}, At: e.RecordedAt}
		switch {
		case e.Stream.IsHeartbeat():
		case e.Revision == 0:
			r.Expected = eventstore.NoStream()
		default:
			r.Expected = eventstore.Exactly(e.Revision - 1)
		}
		if batch = append(batch, r); len(batch) >= m.together {
			if err := flush(); err != nil {
				return copied, err
			}
			bar.set(int64(e.Position))
		}
	}
	return copied, flush()
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
		compared++
		bar.set(int64(a.Position))
	}
	if e, err, ok := next(); ok {
		return compared, errors.Join(err, fmt.Errorf("the stores differ: the target goes on with revision %d of %s", e.Revision, e.Stream))
	}
	return compared, nil
}

func sameEvent(a, b *eventstore.RecordedEvent) bool {
	return a.ID == b.ID && a.Stream == b.Stream && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata) &&
		a.RecordedAt.Equal(b.RecordedAt) && (a.Revision == b.Revision || a.Stream.IsHeartbeat())
}
