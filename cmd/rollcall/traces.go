package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/disposable"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// The history, the snapshots and the keys of a data folder are made from the log of events. If they exist without a log,
// the log is in another place. If they have events that the log does not have, the log has lost its newest events.

// traces are the files and folders that an embedded event store leaves beside its events.
var traces = []string{"history", "snapshots", "consumers", "checkpoint.key", "webhooks.key", "events.restoring"}

// foundTraces gives the names of the traces that exist and are not empty.
func foundTraces(data string) (found []string, err error) {
	for _, name := range traces {
		info, err := os.Stat(filepath.Join(data, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case info.IsDir():
			entries, err := os.ReadDir(filepath.Join(data, name))
			if err != nil {
				return nil, err
			}
			if len(entries) > 0 {
				found = append(found, name+"/")
			}
		case name == "checkpoint.key" && unfinished(history.KeyOwner(filepath.Join(data, name))):
		case name == "webhooks.key" && unfinished(webhooks.LoadSecrets(filepath.Join(data, name))):
		default:
			found = append(found, name)
		}
	}
	return found, nil
}

// unfinished says whether a key's file was found to be damaged: nothing can be told by it.
func unfinished[T any](_ T, err error) bool { return errors.As(err, new(durable.Damaged)) }

// refuseTraces refuses a data folder that has traces of an event store but no events: otherwise a new log would begin, and
// the history of the old log would be thrown away.
func refuseTraces(data string) error {
	events := filepath.Join(data, "events")
	there, err := pebblestore.Exists(events)
	if err != nil || there {
		return err
	}
	found, err := foundTraces(data)
	if err != nil || len(found) == 0 {
		return err
	}
	return fmt.Errorf("%s has no event store, but %s of one: is a disk not mounted? Bring the events back, or restore a backup into a new folder; "+
		"rollcall store forget --data %s puts the traces aside, and an empty registry begins", events, strings.Join(found, ", "), data)
}

// mendTail compares the history and the snapshots with the end of the log. The history had given positions up to told to
// clients, and has put itself aside if the log ends before told. If the log has lost events, mendTail puts aside the
// snapshots with lost events, and the log goes on as a timeline of its own: new events get the lost positions again, and
// a client that comes back with a lost position must notice.
func (n *node) mendTail(ctx context.Context, told eventstore.Position) error {
	store, ok := n.store.Store.(*pebblestore.Store)
	if !ok {
		return nil
	}
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	snapshots := catalogSnapshots(n.settings, n.store.id, n.logger)
	ahead, err := snapshots.After(head)
	if err != nil {
		return err
	}
	for _, at := range ahead {
		told = max(told, at.Position)
	}
	if told <= head {
		return nil
	}
	n.logger.Error("the event log lost its newest events, as after a crash of the disk: it goes on as a timeline of its own. "+
		"What was made from the lost events is put aside and made anew", "log_ends", head, "known_up_to", told)
	for _, at := range ahead {
		if err := snapshots.PutAside(at); err != nil {
			return err
		}
	}
	_, err = store.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.TailLost, Lost: uint64(told)})
	return err
}

// mendFolders puts aside what is in the place of a folder that can be made anew. The history and the log of deliveries look
// after their own folders.
func mendFolders(data string, logger *slog.Logger) error {
	for _, name := range []string{"snapshots", "consumers"} {
		path := filepath.Join(data, name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue // what is wrong with it shows when it is used
		}
		aside, err := disposable.PutAside(path)
		if err != nil {
			return fmt.Errorf("%s is no folder, and cannot be put aside: %w", path, err)
		}
		logger.Error("what is in the place of a folder is put aside, and the folder is made anew", "folder", path, "put_aside", aside)
	}
	return nil
}

// putAside renames a file or folder, so that the registry does not read it any more.
func putAside(path, why string) error {
	path = strings.TrimSuffix(path, "/")
	if err := os.Rename(path, path+"."+why+"-"+time.Now().UTC().Format("20060102T150405.000")); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func storeForgetCommand(remote *commandLine) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "forget",
		Short: "Put aside what a lost event store left in a data folder, so that an empty registry can begin there",
		Long: `A registry does not start on a data folder that has traces of an event store (history, snapshots,
consumers, keys) but no events: more likely than not a disk is not mounted. If the events are lost for
good and there is no backup, this command renames the traces; nothing is deleted.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder (ROLLCALL_DATA)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		there, err := pebblestore.Exists(filepath.Join(data, "events"))
		if err != nil {
			return err
		}
		if there {
			return fmt.Errorf("%s has an event store: there is nothing to forget", data)
		}
		found, err := foundTraces(data)
		if err != nil {
			return err
		}
		for _, name := range found {
			if err := putAside(filepath.Join(data, name), "forgotten"); err != nil {
				return err
			}
		}
		return remote.showValue(c, map[string][]string{"put_aside": append([]string{}, found...)}, func() []string { return found }, func(w io.Writer) error {
			for _, name := range found {
				fmt.Fprintf(w, "put aside %s\n", name)
			}
			if len(found) == 0 {
				fmt.Fprintf(w, "%s has no traces of an event store: nothing was put aside\n", data)
			}
			return nil
		})
	}
	return c
}
