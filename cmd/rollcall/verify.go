package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/projections/history"
)

func checkpointCommand(remote *commandLine) *cobra.Command {
	var key bool
	c := &cobra.Command{
		Use:     "checkpoint",
		Short:   "Print a signed checkpoint of the log; keep it where the registry's operators can't change it",
		Example: "  rollcall checkpoint > checkpoint.txt\n  rollcall checkpoint --verifier-key > checkpoint.key",
		Args:    cobra.NoArgs,
	}
	c.Flags().BoolVar(&key, "verifier-key", false, "print the key that checkpoints are verified with")
	c.Flags().BoolVar(&key, "key", false, "the same")
	_ = c.Flags().MarkDeprecated("key", verifierKeyNow) // fails for an unknown flag only
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		if key {
			text, err := registry.CheckpointKey(c.Context())
			if err != nil {
				return err
			}
			return remote.printText(c, "key", text)
		}
		b, err := registry.Checkpoint(c.Context())
		if err != nil {
			return err
		}
		return remote.printText(c, "checkpoint", string(b))
	}
	return c
}

// verification is what `verify` was asked for.
type verification struct {
	data, checkpoint, key string
}

func verifyCommand(remote *commandLine) *cobra.Command {
	var v verification
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove that no event was changed since a checkpoint",
		Long: `Computes the Merkle tree over all events but heartbeats anew, and holds it against the tree that
grew with the events and against a checkpoint that was kept elsewhere. With --data it reads the data
folder of a registry that is not running; without, it asks the running one at --url.

It names the first event that differs, and exits with 1.`,
		Example: "  rollcall verify --checkpoint checkpoint.txt --verifier-key checkpoint.key\n  rollcall verify --data ./rollcall-data --checkpoint checkpoint.txt",
		Args:    cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&v.data, "data", "", "data folder of a registry that is not running")
	f.StringVar(&v.checkpoint, "checkpoint", "", "file with a checkpoint that was kept")
	f.StringVar(&v.key, "verifier-key", "", "key that the checkpoint is verified with, or a file with it; the registry's own when left out")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := needsFlag(c, "verifier-key", "checkpoint"); err != nil { // nothing else is signed
			return err
		}
		if err := v.takeEarlierName(c, remote); err != nil {
			return err
		}
		if v.data != "" {
			return v.folder(c, remote)
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		return v.remote(c, remote, registry)
	}
	return c
}

// takeEarlierName takes --key for --verifier-key, as it was called, where no --cert says that it is the private key of a certificate.
func (v *verification) takeEarlierName(c *cobra.Command, remote *commandLine) error {
	if !c.Flags().Changed("key") || v.data == "" && remote.cert != "" {
		return nil
	}
	if err := errors.Join(needsFlag(c, "key", "checkpoint"), notTogether(c, "key", "verifier-key")); err != nil {
		return err
	}
	fmt.Fprintln(c.ErrOrStderr(), "Flag --key has been deprecated,", verifierKeyNow)
	v.key, remote.key = remote.key, ""
	return nil
}

const verifierKeyNow = "it is called --verifier-key now"

// evidence reads the checkpoint. ownKey gives the registry's key if the user has kept no key.
func (v *verification) evidence(ownKey func() (string, error)) (*history.Checkpoint, error) {
	if v.checkpoint == "" {
		return nil, nil
	}
	signed, err := durable.ReadRegular(v.checkpoint)
	if err != nil {
		return nil, err
	}
	key := v.key
	if key == "" {
		if key, err = ownKey(); err != nil {
			return nil, err
		}
	} else if b, err := durable.ReadRegular(key); err == nil {
		key = string(b)
	}
	c, err := history.OpenCheckpoint(signed, key)
	return &c, err
}

func (v *verification) folder(c *cobra.Command, line *commandLine) error {
	quiet := slog.New(slog.DiscardHandler)
	folder, err := eventsOf(v.data)
	if err != nil {
		return err
	}
	store, err := pebblestore.Open(folder, pebblestore.Options{ReadOnly: true, Logger: quiet})
	if err != nil {
		return err
	}
	defer store.Close()
	checkpoint, err := v.evidence(func() (string, error) { return history.ReadVerifierKey(filepath.Join(v.data, "checkpoint.key")) })
	if err != nil {
		return err
	}
	if checkpoint != nil && checkpoint.Origin != history.Origin(store.ID()) {
		return fmt.Errorf("the checkpoint is %s's, the data folder is %s's", checkpoint.Origin, history.Origin(store.ID()))
	}
	evidence := history.Evidence{Checkpoint: checkpoint}
	tree, err := history.OpenReadOnly(filepath.Join(v.data, "history"), store.ID(), quiet)
	if err == nil {
		defer tree.Close()
		evidence.Leaves = tree.AllLeaves()
	} else {
		fmt.Fprintf(c.ErrOrStderr(), "the history folder cannot be read, so a difference can be found but not located: %v\n", err)
	}
	filter := eventstore.Filter{StreamPrefixes: eventstore.AuditedPrefixes()}
	events := store.ReadAll(c.Context(), eventstore.ReadAllOptions{Filter: filter})
	total := int64(0)
	if tree != nil {
		total = tree.Leaves()
	}
	return v.run(c, line, events, evidence, total)
}

func (v *verification) remote(c *cobra.Command, line *commandLine, registry *client.Client) error {
	ctx := c.Context()
	checkpoint, err := v.evidence(func() (string, error) { return registry.CheckpointKey(ctx) })
	if err != nil {
		return err
	}
	log, err := registry.Leaves(ctx, 0, 1)
	if err != nil {
		return err
	}
	size := log.Value.Size
	events := func(yield func(eventstore.RecordedEvent, error) bool) {
		n := int64(0)
		for e, err := range registry.Events(ctx, client.EventQuery{}) {
			if n == size { // what came since
				return
			}
			n++
			if !yield(e.RecordedEvent, err) || err != nil {
				return
			}
		}
	}
	leaves := func(yield func(tlog.Hash, error) bool) {
		for h, err := range registry.AllLeaves(ctx, size) {
			if !yield(tlog.Hash(h), err) {
				return
			}
		}
	}
	return v.run(c, line, events, history.Evidence{Checkpoint: checkpoint, Leaves: leaves, Concealed: true}, size)
}

func (v *verification) run(c *cobra.Command, line *commandLine, events iter.Seq2[eventstore.RecordedEvent, error], evidence history.Evidence, total int64) error {
	bar := newProgress(c.ErrOrStderr(), "verifying", "events", total)
	verdict, err := history.Verify(events, evidence, bar.set)
	bar.end()
	var damaged *pebblestore.Damaged
	if errors.As(err, &damaged) {
		return fmt.Errorf("NOT VERIFIED: the event at position %d is damaged: %w", damaged.Position, err)
	}
	if err != nil && c.Context().Err() != nil { // nothing was found
		return fmt.Errorf("the verification was broken off: %w", err)
	}
	if err != nil {
		return fmt.Errorf("NOT VERIFIED: %w", err)
	}
	if verdict.Fault != "" {
		where := ""
		if e := verdict.First; e != nil {
			where = fmt.Sprintf("; the first event that differs is at position %d: revision %d of %s, %s, recorded at %s", e.Position, e.Revision, e.Stream, e.Type, stamp(e.RecordedAt))
		}
		return fmt.Errorf("NOT VERIFIED: %s%s", verdict.Fault, where)
	}
	compared := verdict.Leaves
	if k := evidence.Checkpoint; k != nil {
		compared = max(compared, k.Size)
	}
	if compared == 0 && verdict.Events > 0 {
		return fmt.Errorf("NOT VERIFIED: there is nothing to hold the %d events against: no checkpoint was given, and no tree was found", verdict.Events)
	}
	proved := map[string]any{"verified": true, "events": verdict.Events, "root": fmt.Sprint(verdict.Root)}
	if compared < verdict.Events {
		proved["compared"] = compared
	}
	if verdict.Hidden > 0 {
		proved["concealed"] = verdict.Hidden
	}
	if k := evidence.Checkpoint; k != nil {
		proved["checkpoint"] = map[string]any{"origin": k.Origin, "events": k.Size}
	}
	return line.printValue(c, proved, func(out io.Writer) error {
		fmt.Fprintf(out, "verified: %d events, root %s\n", verdict.Events, verdict.Root)
		if verdict.Hidden > 0 {
			fmt.Fprintf(out, "of %d events you may not see what checks and webhooks keep secret: they count with their hash in the tree\n", verdict.Hidden)
		}
		if compared < verdict.Events {
			fmt.Fprintf(out, "only the first %d events were compared: the tree, which grows after the events, has no more\n", compared)
		}
		if k := evidence.Checkpoint; k != nil {
			fmt.Fprintf(out, "the checkpoint of %d events (%s) stands: nothing before it was changed\n", k.Size, strings.TrimPrefix(k.Origin, "rollcall/"))
		} else {
			fmt.Fprintln(out, "no checkpoint was given: this only shows that the log agrees with its own tree")
		}
		return nil
	})
}
