package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func clusterLeaveCommand(remote *commandLine) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use: "leave", Short: "Make the only member of a cluster, which does not run, a registry without a cluster",
		Long: `Makes a node that is the only member of its cluster, and does not run, a registry without a cluster: it has
the same events, and is started without --node. Remove the other members first.`,
		Example: "  rollcall cluster leave --data /var/lib/rollcall", Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder of the node (ROLLCALL_DATA)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		settled, err := raftstore.Settle(data, pebblestore.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if len(settled.Members) > 1 {
			return fmt.Errorf("the cluster has %d members: remove the others with rollcall cluster remove, or if they are lost, see rollcall cluster recover", len(settled.Members))
		}
		if err := leaveCluster(data, func(*pebblestore.Store) error { return nil }); err != nil {
			return err
		}
		return remote.printDone(c, "node", settled.Node, "left its cluster: start rollcall serve --data "+data)
	}
	return c
}

func clusterRecoverCommand(remote *commandLine) *cobra.Command {
	var data, reason string
	c := &cobra.Command{
		Use: "recover", Short: "After the majority of a cluster is lost for good, go on with what one node has",
		Long: `Goes on with the events of one node of a cluster, when more than half of its members are lost for good. The node
must not run, and nor may any other member, ever again: two registries would come of one.

What only the lost members had is missing. So the log goes on as a timeline of its own, and tells who was lost, when and
why. Choose the member that has the most: rollcall store stats shows where its log ends. The highest term counts, then the highest
entry.

Then start the node as a cluster of its own (--node n1 --cluster n1=host:port), and add others, with empty data folders.`,
		Example: "  rollcall cluster recover --data /var/lib/rollcall --reason 'two machines burnt'", Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&data, "data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder of the node (ROLLCALL_DATA)")
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := domain.ValidateReason(reason); err != nil {
			return usageError{err}
		}
		settled, err := raftstore.Settle(data, pebblestore.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		recovered := domain.ClusterRecovered{Reason: reason}
		for _, m := range settled.Members {
			one := domain.Member{ID: m.Name, Address: m.Address}
			if m.Name == settled.Node {
				recovered.Member = one
			} else {
				recovered.Lost = append(recovered.Lost, one)
			}
		}
		var began domain.TimelineBegan
		err = leaveCluster(data, func(store *pebblestore.Store) (err error) {
			if began, err = store.BeginTimeline(c.Context(), domain.TimelineBegan{Reason: domain.Recovered}); err != nil {
				return err
			}
			return recordRecovery(c.Context(), store, recovered)
		})
		if err != nil {
			return err
		}
		told := map[string]any{"node": settled.Node, "lost": recovered.Lost, "position": began.After, "timeline": began.Timeline}
		return remote.printValue(c, told, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "node %s goes on alone after position %d, where timeline %s begins; %d members are lost. Start it with --node %s --cluster %s=%s\n",
				settled.Node, began.After, began.Timeline, len(recovered.Lost), settled.Node, settled.Node, recovered.Address)
			return err
		})
	}
	return c
}

// leaveCluster takes the store in a data folder out of its cluster. The log of the cluster is put aside first, so that a
// node of which only a part was done is not started as a member again.
func leaveCluster(data string, then func(*pebblestore.Store) error) error {
	if err := putAside(filepath.Join(data, raftFolder), "left"); err != nil {
		return err
	}
	store, err := pebblestore.Open(filepath.Join(data, "events"), pebblestore.Options{Alone: true})
	if err != nil {
		return err
	}
	return errors.Join(takeNotes(data, store), then(store), store.Close())
}

// recordRecovery appends the event that tells of a recovery.
func recordRecovery(ctx context.Context, store *pebblestore.Store, event domain.ClusterRecovered) error {
	data, err := domain.Encode(event)
	if err != nil {
		return err
	}
	results, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.RegistryStream, Events: []eventstore.EventData{{
		Type: event.EventType(), Data: data, Metadata: fmt.Appendf(nil, `{"actor":"local","via":"%s","schema":%d}`, domain.ViaCLI, domain.SchemaVersion),
	}}})
	if err != nil {
		return err
	}
	return results[0].Err
}
