package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// backupOf is what a data folder's backup consists of. Catalog snapshots and the delivery log are left
// out: the ones come again from events, the other is a convenience.
func backupOf(data string, store *pebblestore.Store, past *history.History) pebblestore.Backup {
	b := pebblestore.Backup{Store: store, Scratch: data, Files: []string{filepath.Join(data, "checkpoint.key"), filepath.Join(data, "webhooks.key")}}
	if past != nil {
		b.Folders = map[string]pebblestore.Checkpointer{"history": past}
	}
	return b
}

// backupFunc serves backups of a running registry.
func backupFunc(data string, store *backend, past *history.History) func(w io.Writer, have json.RawMessage) error {
	embedded, ok := store.Store.(*pebblestore.Store)
	if !ok {
		return nil
	}
	return func(w io.Writer, raw json.RawMessage) error {
		var have []pebblestore.BackupFile
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		return backupOf(data, embedded, past).Write(w, have)
	}
}

func backupCommand(remote *commandLine) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "backup DIR",
		Short: "Back up the registry while it runs; run again, only what is new is copied",
		Long: `Writes a consistent backup into a folder: of the running registry at --url, which must be on this
machine, or with --data of the data folder of one that is not running. If the folder holds an earlier
backup, only new files are copied; until the end the earlier backup stays whole. Every file is
checksummed. The folder holds the registry's keys: keep it as safe as the data folder.`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&data, "data", "", "data folder of a registry that is not running")
	c.RunE = func(c *cobra.Command, args []string) error {
		before, _, err := pebblestore.ReadManifest(args[0])
		if err != nil {
			return err
		}
		var archive io.ReadCloser
		if data != "" {
			archive, err = offlineBackup(data, before.Files)
		} else {
			archive, err = onlineBackup(c, remote, before.Files)
		}
		if err != nil {
			return err
		}
		var size int64
		for _, f := range before.Files {
			size += f.Size
		}
		bar := newProgress(c.ErrOrStderr(), "backing up", "bytes", max(size, 1))
		m, err := pebblestore.Receive(archive, args[0], bar.set)
		bar.end()
		if err := errors.Join(err, archive.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "backed up to %s: %d files, up to position %d at least\n", args[0], len(m.Files), m.Position)
		return err
	}
	return c
}

func onlineBackup(c *cobra.Command, remote *commandLine, have []pebblestore.BackupFile) (io.ReadCloser, error) {
	registry, err := remote.client()
	if err != nil {
		return nil, err
	}
	return registry.Backup(c.Context(), have)
}

func offlineBackup(data string, have []pebblestore.BackupFile) (io.ReadCloser, error) {
	quiet := slog.New(slog.DiscardHandler)
	store, err := pebblestore.Open(filepath.Join(data, "events"), pebblestore.Options{Logger: quiet})
	if err != nil {
		return nil, err
	}
	past, err := history.Open(filepath.Join(data, "history"), store.ID(), quiet)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r, w := io.Pipe()
	go func() {
		err := backupOf(data, store, past).Write(w, have)
		w.CloseWithError(errors.Join(err, past.Close(), store.Close()))
	}()
	return r, nil
}

func restoreCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "restore DIR --data NEW",
		Short: "Restore a backup into a new data folder",
		Long: `Copies a backup into a new data folder and checks every file. The restored registry goes on as a
timeline of its own, which its log says: whoever comes back with a position from what was not in the
backup is told so, and gets a fresh snapshot.`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&data, "data", "", "data folder to make; it must be empty or absent")
	c.RunE = func(c *cobra.Command, args []string) error {
		if data == "" {
			return usageError{errors.New("--data is needed")}
		}
		began := time.Now()
		var bar *progress
		r, err := pebblestore.Restore(c.Context(), args[0], data, func(done, total int64) {
			if bar == nil {
				bar = newProgress(c.ErrOrStderr(), "restoring", "bytes", total)
			}
			bar.set(done)
		})
		if bar != nil {
			bar.end()
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "restored to %s in %s: events up to position %d, where timeline %s begins; start rollcall serve --data %s\n",
			data, time.Since(began).Round(time.Millisecond), r.Began.After, r.Began.Timeline, data)
		return err
	}
	return c
}

func storeCommand() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Look into a data folder", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(storeStatsCommand())
	return c
}

func storeStatsCommand() *cobra.Command {
	var data, output string
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count streams, events by type and bytes of a registry that is not running",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		store, err := pebblestore.Open(filepath.Join(data, "events"), pebblestore.Options{ReadOnly: true})
		if err != nil {
			return err
		}
		defer store.Close()
		head, err := store.Head(c.Context())
		if err != nil {
			return err
		}
		bar := newProgress(c.ErrOrStderr(), "counting", "positions", int64(head))
		st, err := store.Stats(c.Context(), bar.position)
		bar.end()
		if err != nil {
			return err
		}
		b, err := json.Marshal(st)
		if err != nil {
			return err
		}
		show := commandLine{output: output}
		return show.print(c, bytes.TrimSpace(b), func(w io.Writer) error {
			oldest := "none"
			if !st.OldestHeartbeat.IsZero() {
				oldest = st.OldestHeartbeat.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "newest position    %d\nlifecycle streams  %d\nheartbeat streams  %d\noldest heartbeat   %s\nbytes on disk      %d (lifecycle events %d, heartbeats %d, as the engine estimates)\n\n",
				st.Head, st.LifecycleStreams, st.HeartbeatStreams, oldest, st.DiskBytes, st.LifecycleBytes, st.HeartbeatBytes)
			return table(w, "TYPE\tEVENTS", func(row func(...any)) {
				for _, name := range sortedKeys(st.Events) {
					row(name, st.Events[name])
				}
			})
		})
	}
	return c
}
