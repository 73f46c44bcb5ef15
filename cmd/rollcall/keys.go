package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
)

// A disk that was full at the first start has left key files of earlier versions empty or halfway written. Such a file
// is put aside and made anew where nothing was made with the key in it. Where something may have been, whoever runs
// the registry must decide, for the key cannot be made again.

// loadKey loads a key. If its file is damaged, needed says what may have been made with the key, and nil if nothing can
// have been.
func loadKey[T any](load func() (T, error), needed func() error, logger *slog.Logger) (key T, err error) {
	key, err = load()
	var damaged durable.Damaged
	if !errors.As(err, &damaged) {
		return key, err
	}
	if why := needed(); why != nil {
		return key, fmt.Errorf("%w; %w", err, why)
	}
	if err := putAside(damaged.Path, "damaged"); err != nil {
		return key, err
	}
	logger.Warn("a file was damaged; nothing depends on it: it is put aside and made anew", "file", damaged.Path, "cause", damaged.Cause)
	return load()
}

// signedCheckpoints says why checkpoints may have been signed; nil: none can have been, for there is no event.
func signedCheckpoints(ctx context.Context, store eventstore.Store) error {
	head, err := store.Head(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("whether checkpoints were signed with its key cannot be found out: %w", err)
	case head > 0:
		return errors.New("checkpoints may have been signed with its key: bring the file back from a backup, or move it away, " +
			"and checkpoints are signed with a new key from then on; those given out before need the old public key to be verified")
	}
	return nil
}

// sealedSecrets says which webhooks' secrets are sealed; nil: there are no webhooks.
func sealedSecrets(ctx context.Context, store eventstore.Store, list *webhooks.List) error {
	if _, err := store.Head(ctx); err != nil {
		return fmt.Errorf("whether webhooks' secrets are sealed with its key cannot be found out: %w", err)
	}
	if all := list.All(); len(all) > 0 {
		return fmt.Errorf("the secrets of %d webhooks are sealed with its key (webhook %s is the oldest): bring the file back from a backup, or move it away, "+
			"delete these webhooks and create them anew", len(all), all[0].ID)
	}
	return nil
}

// loadStoreID reads the id of the event store that a data folder belongs to; uuid.Nil: of none yet. The id in a damaged
// file is in the key of the checkpoints, too. Where neither is readable, the folder belongs to none if nothing in it
// was made from a store's events.
func loadStoreID(data string, logger *slog.Logger) (id uuid.UUID, err error) {
	file := filepath.Join(data, "store-id")
	load := func() (uuid.UUID, error) { return readStoreID(file) }
	id, err = load()
	if !errors.As(err, new(durable.Damaged)) {
		return id, err
	}
	if owner, err := history.KeyOwner(filepath.Join(data, "checkpoint.key")); err == nil {
		logger.Warn("a file was damaged; it is written anew from the checkpoints' key", "file", file, "store", owner)
		return owner, durable.WriteFile(file, []byte(owner.String()+"\n"), 0o640)
	}
	return loadKey(load, func() error {
		found, err := foundTraces(data)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%s in %s belong to some event store: bring the file back, or move it away if they are of the one that --store names", strings.Join(found, ", "), data)
		}
		return err
	}, logger)
}
