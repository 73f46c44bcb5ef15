package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/live"
)

func rebuildCommand(remote *commandLine) *cobra.Command {
	s := settings{}
	var only string
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make every projection anew from the events: history, tree, catalog snapshots",
		Long: `Makes every projection of a data folder anew from its events, which stay untouched. The registry
must not be running. Sums of heartbeats that the retention has removed are taken from the old history.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&s.data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.Flags().StringVar(&only, "only", "", "just this projection: history or catalog")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if only != "" && only != "history" && only != "catalog" {
			return usageError{fmt.Errorf("only must be history or catalog, not %q", only)}
		}
		events, err := eventsOf(s.data)
		if err != nil {
			return err
		}
		logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		store, err := pebblestore.Open(events, pebblestore.Options{ReadOnly: true, Logger: logger})
		if err != nil {
			return err
		}
		defer store.Close()
		head, err := store.Head(c.Context())
		if err != nil {
			return err
		}
		defer fewerCollections()()
		type rebuilt struct {
			Projection string              `json:"projection"`
			Position   eventstore.Position `json:"position"`
			Took       domain.Duration     `json:"took"`
			result     string
		}
		all := []rebuilt{}
		for _, p := range []struct {
			name    string
			rebuild func(context.Context, settings, *pebblestore.Store, *slog.Logger, func(at, head eventstore.Position)) (result string, err error)
		}{{"history", rebuildHistory}, {"catalog", rebuildCatalog}} {
			if only != "" && only != p.name {
				continue
			}
			began := time.Now()
			bar := newProgress(c.ErrOrStderr(), p.name, "positions", int64(head))
			result, err := p.rebuild(c.Context(), s, store, logger, func(at, _ eventstore.Position) { bar.set(int64(at)) })
			bar.end()
			if err != nil {
				return err
			}
			all = append(all, rebuilt{p.name, head, domain.Duration(time.Since(began).Round(time.Millisecond)), result})
		}
		return remote.printValue(c, map[string]any{"rebuilt": all}, func(w io.Writer) error {
			for _, r := range all {
				fmt.Fprintf(w, "rebuilt the %s up to position %d in %s%s\n", r.Projection, r.Position, time.Duration(r.Took), r.result)
			}
			return nil
		})
	}
	return c
}

func rebuildHistory(ctx context.Context, s settings, store *pebblestore.Store, logger *slog.Logger, progress func(at, head eventstore.Position)) (string, error) {
	return "", history.Rebuild(ctx, filepath.Join(s.data, "history"), store, store.ID(), logger, progress)
}

func rebuildCatalog(ctx context.Context, s settings, store *pebblestore.Store, logger *slog.Logger, progress func(at, head eventstore.Position)) (result string, err error) {
	snapshots := catalogSnapshots(s, store.ID(), logger)
	if err := snapshots.RemoveAll(); err != nil {
		return "", err
	}
	registry, err := live.Open(ctx, live.Options{Store: store, Now: time.Now, Logger: logger, Snapshots: snapshots, OnProgress: progress})
	if err != nil {
		return "", err
	}
	return ", " + count(registry.Catalog().Len(), "instance") + " registered", registry.Close()
}
