package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/brokers"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// In a cluster only the leader delivers to webhooks and brokers. How far the deliveries are is kept as notes on all nodes,
// and so is the key of the webhooks' secrets. A registry that runs alone keeps both in its data folder. What is there goes
// into the notes when a cluster is founded, and comes back when a node leaves its cluster.

// noteOfKey is the name of the note with the key of the webhooks' secrets.
const noteOfKey = "key/webhooks"

// leading are the notes as the leader of a term writes them.
type leading struct {
	store *raftstore.Store
	term  uint64
}

// Notes implements webhooks.Notes and stream.Notes.
func (l leading) Notes(ctx context.Context, prefix string) (map[string][]byte, error) {
	found, err := l.store.Notes(ctx, prefix)
	return noteMap(found), err
}

// Note implements webhooks.Notes and stream.Notes.
func (l leading) Note(ctx context.Context, notes map[string][]byte) error {
	return l.store.Note(ctx, l.term, noteList(notes))
}

func noteMap(all []pebblestore.Note) map[string][]byte {
	found := make(map[string][]byte, len(all))
	for _, n := range all {
		found[n.Name] = n.Value
	}
	return found
}

func noteList(notes map[string][]byte) (all []pebblestore.Note) {
	for _, name := range slices.Sorted(maps.Keys(notes)) {
		all = append(all, pebblestore.Note{Name: name, Value: notes[name]})
	}
	return all
}

// leaderLook is how often a node looks whether it leads.
const leaderLook = 100 * time.Millisecond

// deliverAsLeader delivers whenever this node leads, until the context ends. What an earlier leader delivered after it last
// wrote its notes comes twice.
func (d *deliveries) deliverAsLeader(ctx context.Context) error {
	return tick(ctx, leaderLook, func(ctx context.Context, ticks <-chan time.Time) error {
		for ctx.Err() == nil {
			if term, leads := d.cluster.Leads(); leads {
				if err := d.deliverIn(ctx, term); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
			case <-ticks:
			}
		}
		return nil
	})
}

// deliverIn delivers in a term.
func (d *deliveries) deliverIn(ctx context.Context, term uint64) error {
	notes := leading{d.cluster, term}
	positions, err := webhooks.OpenShared(ctx, notes)
	if err != nil {
		d.logger.Error("how far webhooks are cannot be read; it is tried again", "cause", err)
		return nil
	}
	d.logger.Info("this node delivers to webhooks and brokers", "term", term)
	ctx, end := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { d.awaitEnd(ctx, term, end) })
	err = d.deliver(ctx, positions, stream.SharedCheckpoints(notes))
	end()
	looking.Wait()
	d.logger.Info("this node delivers to webhooks and brokers no longer", "term", term)
	return err
}

// awaitEnd calls end when this node leads no longer in the term.
func (d *deliveries) awaitEnd(ctx context.Context, term uint64, end func()) {
	ticker := time.NewTicker(leaderLook)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if now, leads := d.cluster.Leads(); !leads || now != term {
			end()
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// collected are notes in memory.
type collected map[string][]byte

// Notes implements webhooks.Notes and stream.Notes.
func (c collected) Notes(_ context.Context, prefix string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for name, value := range c {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found, nil
}

// Note implements webhooks.Notes and stream.Notes.
func (c collected) Note(_ context.Context, notes map[string][]byte) error {
	maps.Copy(c, notes)
	return nil
}

func keyFile(data string) string         { return filepath.Join(data, "webhooks.key") }
func consumersFolder(data string) string { return filepath.Join(data, "consumers") }
func positionsFile(data string) string   { return filepath.Join(consumersFolder(data), "webhooks.log") }

// notesOf are the notes with which a registry that ran alone founds a cluster.
func notesOf(data string, publish []string, logger *slog.Logger) ([]pebblestore.Note, error) {
	notes := collected{}
	if _, err := webhooks.LoadSecrets(keyFile(data)); err != nil { // it makes a key where there is none
		return nil, err
	}
	key, err := durable.ReadFile(keyFile(data))
	if err != nil {
		return nil, err
	}
	notes[noteOfKey] = key
	checkpoints, err := stream.OpenCheckpoints(consumersFolder(data))
	if err != nil {
		return nil, err
	}
	positions, err := webhooks.OpenPositions(positionsFile(data), checkpoints, logger)
	if err != nil {
		return nil, err
	}
	shared, err := webhooks.OpenShared(context.Background(), notes)
	if err != nil {
		return nil, err
	}
	if err := positions.CopyTo(shared); err != nil {
		return nil, err
	}
	for _, url := range publish {
		t, err := brokers.Parse(url)
		if err != nil {
			return nil, err
		}
		name := stream.CheckpointName(consumerOf(t), t.Events())
		at, ok, err := checkpoints.Load(name)
		if err == nil && ok {
			err = stream.SharedCheckpoints(notes).Save(name, at)
		}
		if err != nil {
			logger.Error("how far a broker is cannot be taken into the cluster; its events come again", "broker", t.URL, "cause", err)
		}
	}
	return noteList(notes), nil
}

// takeNotes writes the notes of a node that leaves its cluster into its data folder.
func takeNotes(data string, store *pebblestore.Store) error {
	found, err := store.Notes("")
	if err != nil {
		return err
	}
	notes := collected(noteMap(found))
	shared, err := webhooks.OpenShared(context.Background(), notes)
	if err != nil {
		return err
	}
	checkpoints, err := stream.OpenCheckpoints(consumersFolder(data))
	if err != nil {
		return err
	}
	positions, err := webhooks.OpenPositions(positionsFile(data), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(takeKey(data, notes[noteOfKey]), shared.CopyTo(positions), positions.Close(), stream.SharedCheckpoints(notes).CopyTo(checkpoints))
}

// takeKey makes the cluster's key of the webhooks' secrets that of the data folder.
func takeKey(data string, key []byte) error {
	file := keyFile(data)
	own, err := durable.ReadFile(file)
	if len(key) == 0 || err == nil && string(own) == string(key) {
		return nil
	}
	if err == nil {
		if err := putAside(file, "own"); err != nil {
			return err
		}
	}
	return durable.WriteFile(file, key, 0o600)
}
