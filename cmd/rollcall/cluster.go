package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func clusterCommand(remote *commandLine) *cobra.Command {
	c := group("cluster", "Show the nodes of a cluster, add one, remove one, and choose who leads")
	c.Long = `A cluster is a registry of several nodes, each with all events in its own store. It goes on as long as more than half
of its members reach each other (docs/cluster.md).

The commands need operator's rights: a token with them, or --data with the data folder of a node on this machine. The
members are shown as the node sees them that is asked; how far each of them is, the leader knows.`
	c.AddCommand(clusterStatusCommand(remote), clusterAddCommand(remote), clusterRemoveCommand(remote), clusterTransferCommand(remote), clusterLeaveCommand(remote), clusterRecoverCommand(remote))
	return c
}

// clusterAction is a command that changes the cluster, or looks at it, and shows what the cluster then is.
func clusterAction(remote *commandLine, c *cobra.Command, do func(ctx context.Context, registry *client.Client, args []string) (client.Reply[wire.ClusterStatus], error)) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := do(c.Context(), registry, args)
		if err != nil {
			return err
		}
		members := reply.Value.Members
		names := func() (ids []string) {
			for _, m := range members {
				ids = append(ids, m.ID)
			}
			return ids
		}
		return remote.show(c, reply.Raw, names, func(w io.Writer) error { return clusterTable(w, &reply.Value) })
	}
	return c
}

func clusterStatusCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show the members of the cluster, and who leads, as the node that is asked sees it", Args: cobra.NoArgs}
	return clusterAction(remote, c, func(ctx context.Context, registry *client.Client, _ []string) (client.Reply[wire.ClusterStatus], error) {
		return registry.Cluster(ctx)
	})
}

func clusterAddCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{
		Use: "add NODE=ADDRESS", Short: "Add a node that was started with --join, and wait until it has a vote",
		Example: "  rollcall cluster add n4=10.0.0.4:7950 --reason 'n3 is to be replaced'", Args: cobra.ExactArgs(1),
	}
	reason := c.Flags().String("reason", "", "why; kept in the history")
	return clusterAction(remote, c, func(ctx context.Context, registry *client.Client, args []string) (client.Reply[wire.ClusterStatus], error) {
		member, err := parseMember(args[0])
		if err != nil {
			return client.Reply[wire.ClusterStatus]{}, usageError{err}
		}
		return registry.AddMember(ctx, member, *reason)
	})
}

func clusterRemoveCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{
		Use: "remove NODE", Short: "Take a node out of the cluster; ask another node to do so",
		Example: "  rollcall cluster remove n3 --reason 'its disk is broken'", Args: cobra.ExactArgs(1),
	}
	reason := c.Flags().String("reason", "", "why; kept in the history")
	return clusterAction(remote, c, func(ctx context.Context, registry *client.Client, args []string) (client.Reply[wire.ClusterStatus], error) {
		return registry.RemoveMember(ctx, args[0], *reason)
	})
}

func clusterTransferCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{
		Use: "transfer [NODE]", Short: "Give the lead to another node, e.g. before the leader is stopped",
		Example: "  rollcall cluster transfer n2", Args: cobra.MaximumNArgs(1),
	}
	return clusterAction(remote, c, func(ctx context.Context, registry *client.Client, args []string) (client.Reply[wire.ClusterStatus], error) {
		id := ""
		if len(args) == 1 {
			id = args[0]
		}
		return registry.MoveLead(ctx, id)
	})
}

// parseMember reads a member such as n1=10.0.0.1:7950.
func parseMember(text string) (domain.Member, error) {
	id, address, ok := strings.Cut(text, "=")
	if !ok {
		return domain.Member{}, domain.InvalidField{Field: "node", Rule: "must be like n1=10.0.0.1:7950"}
	}
	m := domain.Member{ID: id, Address: address}
	return m, m.Validate()
}

// parseMembers reads members with commas between them.
func parseMembers(text string) (all domain.Members, err error) {
	for part := range strings.SplitSeq(text, ",") {
		m, err := parseMember(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.ID == m.ID || other.Address == m.Address {
				return nil, domain.InvalidField{Field: "cluster", Rule: "must name each node and each address once, not " + part + " beside " + other.ID + "=" + other.Address}
			}
		}
		all = append(all, m)
	}
	return all, nil
}

func clusterTable(w io.Writer, s *wire.ClusterStatus) error {
	title(w, "%s", oneLine(clusterLine(s)))
	return table(w, "NODE\tADDRESS\tROLE\tCONNECTED\tBEHIND|NOTE", func(row func(...any)) {
		for _, m := range s.Members {
			connected, behind := "no", "-"
			if m.Connected {
				connected = "yes"
			}
			if m.Behind != nil {
				behind = fmt.Sprint(*m.Behind)
			}
			row(m.ID, m.Address, m.Role, connected, behind, oneLine(m.Problem))
		}
	})
}

// clusterLine is how the cluster is, in a line.
func clusterLine(s *wire.ClusterStatus) string {
	line := fmt.Sprintf("node %s is %s in term %d", s.Node, s.Role, s.Term)
	switch {
	case s.Leader == "":
		line += ", and knows of no leader: no command is taken"
	case s.Leader != s.Node:
		line += ", " + s.Leader + " leads"
	}
	if s.WithoutLeaderSince != nil {
		line += ", since " + stamp(*s.WithoutLeaderSince)
	}
	if s.Lag > 0 {
		line += fmt.Sprintf(", %d entries behind", s.Lag)
	}
	for _, m := range s.Members {
		if m.Rules > s.Rules {
			line += fmt.Sprintf(", version %d of the rules until all members know a later one", s.Rules)
			break
		}
	}
	if s.Problem != "" {
		line += ": " + s.Problem
	}
	return line
}
