package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/history"
)

func rebuildCommand() *cobra.Command {
	s := settings{}
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make every projection anew from the events: history, tree, catalog snapshots",
		Long: `Makes every projection of a data folder anew from its events, which stay untouched. The registry
must not be running. Sums of heartbeats that the retention has removed are taken from the old history.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&s.data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		store, err := pebblestore.Open(filepath.Join(s.data, "events"), pebblestore.Options{ReadOnly: true, Logger: logger})
		if err != nil {
			return err
		}
		defer store.Close()
		head, err := store.Head(c.Context())
		if err != nil {
			return err
		}
		defer fewerCollections()()
		began := time.Now()
		bar := newProgress(c.ErrOrStderr(), "history", "positions", int64(head))
		shown := func(at, _ eventstore.Position) { bar.set(int64(at)) }
		err = history.Rebuild(c.Context(), filepath.Join(s.data, "history"), store, store.ID(), logger, shown)
		bar.end()
		if err != nil {
			return err
		}
		snapshots := catalogSnapshots(s, store.ID(), logger)
		if err := snapshots.RemoveAll(); err != nil {
			return err
		}
		bar = newProgress(c.ErrOrStderr(), "catalog", "positions", int64(head))
		registry, err := projections.Open(c.Context(), projections.Options{Store: store, Now: time.Now, Logger: logger, Snapshots: snapshots, OnProgress: shown})
		bar.end()
		if err != nil {
			return err
		}
		instances := registry.Catalog().Len()
		if err := registry.Close(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "rebuilt up to position %d in %s: %d instances registered\n", head, time.Since(began).Round(time.Millisecond), instances)
		return err
	}
	return c
}
