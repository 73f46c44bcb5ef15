package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/backup"
	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// backupOf is what a data folder's backup consists of: events, history, keys, and how far consumers are.
// Catalog snapshots and the delivery log are left out: the ones come again from events, the other is a
// convenience.
func backupOf(data string, store *pebblestore.Store, past *history.History) backup.Source {
	return backup.Source{
		Store: store, Folders: map[string]backup.Checkpointer{"history": past},
		Files: []string{"checkpoint.key", "webhooks.key", "consumers/*.json", "consumers/*.log"}, Data: data, Now: time.Now,
	}
}

// backupFunc serves backups of a running registry.
func backupFunc(data string, store *backend, past *history.History) func(w io.Writer, have []wire.BackupFile) error {
	if store.embedded == nil {
		return nil
	}
	return func(w io.Writer, have []wire.BackupFile) error {
		var files []backup.File
		for _, f := range have {
			files = append(files, backup.File(f))
		}
		return backupOf(data, store.embedded(), past).Write(w, files)
	}
}

func backupCommand(remote *commandLine) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "backup DIR",
		Short: "Back up a data folder, of a registry that runs or not; run again, only what is new is copied",
		Long: `Writes a consistent backup of a data folder into another folder. A registry that runs on the data folder
goes on meanwhile; it is asked through the socket in the data folder, so this runs on its machine.

DIR must be new, empty, or hold a backup of the same store. Of an earlier backup what is intact is kept and
what is damaged is written anew; it stays whole until the new one is. Every file is checksummed. DIR holds
the registry's keys: keep it as safe as the data folder.`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := apart(data, args[0]); err != nil {
			return err
		}
		target, err := backup.OpenTarget(c.Context(), args[0])
		if err != nil {
			return err
		}
		archive, err := openBackup(c, remote, data, target.Have())
		if err != nil {
			return err
		}
		bar := newProgress(c.ErrOrStderr(), "backing up", "bytes", target.Size())
		m, err := target.Receive(c.Context(), archive, bar.set)
		bar.end()
		if err := errors.Join(err, archive.Close()); err != nil {
			return err
		}
		return remote.printValue(c, m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "backed up to %s: %d files, up to position %d at least\n", args[0], len(m.Files), m.Position)
			return err
		})
	}
	c.AddCommand(verifyBackupCommand(remote))
	return c
}

// apart refuses a backup that would lie in the data folder, or the other way round.
func apart(data, dir string) error {
	for _, pair := range [][2]string{{data, dir}, {dir, data}} {
		outer, err := resolved(pair[0])
		if err != nil {
			return err
		}
		inner, err := resolved(pair[1])
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(outer, inner); err == nil && filepath.IsLocal(rel) {
			return usageError{fmt.Errorf("the backup %s and the data folder %s must not lie in each other", dir, data)}
		}
	}
	return nil
}

// resolved is a path without symbolic links, as far as it exists.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for rest := ""; ; {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest), nil
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest), nil
		}
		path, rest = parent, filepath.Join(filepath.Base(path), rest)
	}
}

// openBackup gives the backup of a data folder: from the registry that runs on it, or else from its files.
func openBackup(c *cobra.Command, remote *commandLine, data string, have []backup.File) (io.ReadCloser, error) {
	registry, runs, err := localClient(data, remote, client.Options{})
	switch {
	case err != nil:
		return nil, err
	case runs:
		archive, err := registry.Backup(c.Context(), have)
		if err != nil {
			return nil, err
		}
		return brokenOff{archive, c.Context()}, nil
	}
	return offlineBackup(data, have)
}

// brokenOff is the archive that a running registry sends. A registry that fails in the middle of an archive can only close the connection.
type brokenOff struct {
	io.ReadCloser
	ctx context.Context // of the command
}

// Read says where the cause of a failure is told.
func (a brokenOff) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && a.ctx.Err() == nil {
		err = fmt.Errorf("the registry broke the backup off, and its log says why: %w", err)
	}
	return n, err
}

// eventsOf is the folder of the event store in a data folder.
func eventsOf(data string) (string, error) {
	events := filepath.Join(data, "events")
	if entries, err := os.ReadDir(events); err != nil || len(entries) == 0 {
		return "", fmt.Errorf("%s is not a data folder: there is no event store in it", data)
	}
	return events, nil
}

func offlineBackup(data string, have []backup.File) (io.ReadCloser, error) {
	events, err := eventsOf(data)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	store, err := pebblestore.Open(events, pebblestore.Options{Logger: quiet})
	if errors.Is(err, pebblestore.ErrReplica) {
		return nil, fmt.Errorf("%s is that of a node of a cluster which does not run: start it, or back up from another node", data)
	}
	if err != nil {
		return nil, err
	}
	past, err := history.Open(filepath.Join(data, "history"), store.ID(), quiet)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r, w := io.Pipe()
	ended := make(chan struct{}) // closed when the data folder is as it was before
	go func() {
		defer close(ended)
		err := backupOf(data, store, past).Write(w, have)
		w.CloseWithError(errors.Join(err, past.Close(), store.Close()))
	}()
	return offlineArchive{r, ended}, nil
}

// offlineArchive is the archive of a data folder on which no registry runs.
type offlineArchive struct {
	*io.PipeReader
	ended <-chan struct{}
}

// Close ends the backup, and waits until it has left the data folder.
func (a offlineArchive) Close() error {
	defer func() { <-a.ended }()
	return a.PipeReader.Close()
}

func verifyBackupCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every file of a backup without restoring it",
		Args:  cobra.ExactArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		bar, set := totalProgress(c, "verifying")
		m, err := backup.Verify(c.Context(), args[0], set)
		bar.end()
		if err != nil {
			return err
		}
		return remote.printValue(c, m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is whole: %d files of store %s, made %s, up to position %d at least\n", args[0], len(m.Files), m.StoreID, stamp(m.CreatedAt), m.Position)
			return err
		})
	}
	return c
}

// totalProgress is a progress whose total is told with the first step.
func totalProgress(c *cobra.Command, what string) (bar *lazyProgress, set func(done, total int64)) {
	bar = &lazyProgress{}
	return bar, func(done, total int64) {
		if bar.progress == nil {
			bar.progress = newProgress(c.ErrOrStderr(), what, "bytes", total)
		}
		bar.progress.set(done)
	}
}

type lazyProgress struct{ progress *progress }

func (p *lazyProgress) end() {
	if p.progress != nil {
		p.progress.end()
	}
}

func restoreCommand(remote *commandLine) *cobra.Command {
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
		if err := apart(data, args[0]); err != nil {
			return err
		}
		began := time.Now()
		bar, set := totalProgress(c, "restoring")
		var timeline domain.TimelineBegan
		_, err := backup.Restore(c.Context(), args[0], data, set, func(folder string, m backup.Manifest) (err error) {
			timeline, err = leaveTimeline(c.Context(), folder, m)
			return err
		})
		bar.end()
		if err != nil {
			return err
		}
		took := time.Since(began).Round(time.Millisecond)
		restored := map[string]any{"data": data, "position": timeline.After, "timeline": timeline.Timeline, "took": domain.Duration(took)}
		return remote.printValue(c, restored, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "restored to %s in %s: events up to position %d, where timeline %s begins; start rollcall serve --data %s\n",
				data, took, timeline.After, timeline.Timeline, data)
			return err
		})
	}
	return c
}

// leaveTimeline opens a restored store and has it begin a timeline.
func leaveTimeline(ctx context.Context, folder string, m backup.Manifest) (began domain.TimelineBegan, err error) {
	store, err := pebblestore.Open(filepath.Join(folder, "events"), pebblestore.Options{Alone: true})
	if err != nil {
		return began, fmt.Errorf("the restored store does not open: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if head := store.Durable(); store.ID() != m.StoreID || head < m.Position {
		return began, fmt.Errorf("the restored store ends at position %d, the backup was made at %d", head, m.Position)
	}
	return store.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.Restored, Backup: &m.CreatedAt})
}

func storeCommand(remote *commandLine) *cobra.Command {
	c := group("store", "Look into a data folder")
	c.AddCommand(storeStatsCommand(remote), storeForgetCommand(remote))
	return c
}

func storeStatsCommand(remote *commandLine) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count streams, events by type and bytes of a registry that is not running",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		events, err := eventsOf(data)
		if err != nil {
			return err
		}
		store, err := pebblestore.Open(events, pebblestore.Options{ReadOnly: true})
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
		log, err := raftstore.EndOfLog(data, vfs.Default, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		told := struct {
			pebblestore.Stats
			Log *raftstore.LogEnd // nil: the folder is not that of a node of a cluster
		}{st, log}
		return remote.printValue(c, told, func(w io.Writer) error {
			if log != nil { // the store may lack the last entries of it
				fmt.Fprintf(w, "end of the log     term %d, entry %d\n", log.Term, log.Index)
			}
			oldest := "none"
			if !st.OldestHeartbeat.IsZero() {
				oldest = stamp(st.OldestHeartbeat)
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
