package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func statusCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the registry is: its store, its projections, its leases, and whether it can take heartbeats",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			reply, err := registry.Status(c.Context())
			if err != nil {
				return err
			}
			place := registry.URL()
			if remote.socket != "" {
				place = "the socket in " + remote.socket
			}
			return remote.print(c, reply.Raw, func(w io.Writer) error { return statusTable(w, place, &reply.Value) })
		},
	}
}

func statusTable(w io.Writer, place string, s *wire.Status) error {
	return table(w, "REGISTRY\t"+place, func(row func(...any)) {
		row("version", s.Version)
		row("up", fmt.Sprintf("%s, since %s", seconds(s.Uptime), stamp(s.StartedAt)))
		row("ready", yesOr(s.Ready, s.NotReady))
		row("store", storeLine(&s.Store))
		if s.Store.Problem != "" {
			row("", oneLine(s.Store.Problem))
		}
		if s.Cluster != nil {
			row("cluster", oneLine(clusterLine(s.Cluster)))
		}
		if s.Disk != nil {
			row("disk", fmt.Sprintf("%s free of %s", bytesText(s.Disk.Free), bytesText(s.Disk.Total)))
		}
		row("catalog", catalogLine(&s.Catalog))
		row("history", fmt.Sprintf("%d entries, %s", s.History.Entries, behindText(s.History.Behind)))
		row("leases", fmt.Sprintf("%d, of which %d overdue", s.Leases.Count, s.Leases.Overdue))
		for _, namespace := range slices.Sorted(maps.Keys(s.Leases.ExpiryHeld)) {
			held := s.Leases.ExpiryHeld[namespace]
			row("", oneLine(fmt.Sprintf("expiry is held in namespace %s since %s, by %s %s", namespace, stamp(held.Since), dash(held.Actor), held.Reason)))
		}
		if p := s.Probes; p != nil {
			row("probes", count(p.Checks, "check")+", by node "+p.Node)
			if p.Holding {
				row("", fmt.Sprintf("most targets are silent since %s: %d failures are held back", sinceText(p.HeldSince), p.Held))
			}
		}
		row("heartbeats", listeningLine(&s.Listening))
		for _, cause := range slices.Sorted(maps.Keys(s.Listening.ByCause)) {
			row("", fmt.Sprintf("not taken for %s: %s", seconds(s.Listening.ByCause[cause]), cause))
		}
	})
}

func storeLine(s *wire.StoreStatus) string {
	parts := []string{s.Kind, s.ID}
	if s.Timeline != "" {
		parts = append(parts, "timeline "+s.Timeline)
	}
	parts = append(parts, "position "+s.Position.String())
	if s.Bytes != nil {
		parts = append(parts, bytesText(*s.Bytes))
	}
	return strings.Join(parts, ", ")
}

func catalogLine(s *wire.CatalogStatus) string {
	line := fmt.Sprintf("%s of %s, %s", count(s.Instances, "instance"), count(s.Services, "service"), behindText(s.Behind))
	if s.Nodes > 0 {
		line += ", " + count(s.Nodes, "node") + " of the registry"
	}
	if s.Stale {
		line += ", from a snapshot: the store could not be reached since the start"
	}
	if s.Skipped > 0 {
		line += fmt.Sprintf(", %d events could not be applied", s.Skipped)
	}
	return line
}

func listeningLine(s *wire.ListeningStatus) string {
	if !s.Able {
		return fmt.Sprintf("cannot be taken since %s: %s; no lease runs", sinceText(s.Since), oneLine(string(s.Cause)))
	}
	if s.Total == 0 {
		return "taken all the time"
	}
	return "taken now"
}

// sinceText is a moment that another version of the registry may leave out.
func sinceText(t *time.Time) string {
	if t == nil {
		return "a time that it does not tell"
	}
	return stamp(*t)
}

func behindText(n *uint64) string {
	switch {
	case n == nil:
		return "how far behind the store is not known"
	case *n == 0:
		return "level with the store"
	}
	return fmt.Sprintf("%d positions behind the store", *n)
}

func yesOr(yes bool, no string) string {
	if yes {
		return "yes"
	}
	return "no: " + oneLine(no)
}

func seconds(d domain.Duration) time.Duration { return time.Duration(d).Round(100 * time.Millisecond) }

// bytesText is a number of bytes for people.
func bytesText(n uint64) string {
	size, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
