package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func catalogCommand(remote *commandLine) *cobra.Command {
	var at momentFlag
	c := &cobra.Command{
		Use:     "catalog",
		Short:   "List everything that is registered, or was --at a moment",
		Example: "  rollcall catalog --at '5m ago'\n  rollcall catalog --at 2026-03-01T03:12:00Z",
		Args:    cobra.NoArgs,
	}
	momentVar(c.Flags(), &at, "at", atUsage)
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		all, err := registry.Catalog(c.Context(), remote.scope(), at.moment)
		if err != nil {
			return err
		}
		names := func() (names []string) {
			for _, s := range all.Value.Services {
				for _, i := range s.Instances {
					names = append(names, remote.nameOf(i.Namespace, i.Service+"/"+i.ID))
				}
			}
			return names
		}
		return remote.show(c, all.Raw, names, func(w io.Writer) error {
			title(w, "catalog of %s at %s", remote.scopeWords(), placeName(all.Value.Place))
			if all.Value.Note != "" {
				fmt.Fprintln(w, all.Value.Note)
			}
			return table(w, "NAMESPACE\tSERVICE\tID\tADDRESS\tSTATUS\tTRAFFIC\tVERSION\tSINCE|PORTS\tZONE\tWEIGHT\tTAGS\tEPOCH\tOWNER", func(row func(...any)) {
				for _, s := range all.Value.Services {
					for _, i := range s.Instances {
						row(i.Namespace, i.Service, i.ID, i.Address, i.Status, i.Traffic, dash(i.Version), stamp(i.RegisteredAt), dash(portsText(i.Ports)), dash(i.Zone), i.Weight, dash(strings.Join(i.Tags, ",")), i.Epoch, dash(i.Owner))
					}
				}
			})
		})
	}
	return c
}

func diffCommand(remote *commandLine) *cobra.Command {
	var from, to momentFlag
	c := &cobra.Command{
		Use:     "diff --from MOMENT [--to MOMENT]",
		Short:   "Say what changed between two moments, and which event did it",
		Example: "  rollcall diff --from '1h ago'\n  rollcall diff --from 2026-03-01T03:00:00Z --to 2026-03-01T03:15:00Z",
		Args:    cobra.NoArgs,
	}
	momentVar(c.Flags(), &from, "from", "earlier moment: "+momentWords)
	momentVar(c.Flags(), &to, "to", "later moment; now when left out")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if from.moment == "" {
			return usageError{errors.New("--from is needed")}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := registry.DiffIn(c.Context(), remote.scope(), from.moment, to.moment)
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(w io.Writer) error {
			d := reply.Value
			fmt.Fprintf(w, "%s, from %s to %s: %d added, %d removed, %d changed\n", remote.scopeWords(), placeName(d.From), placeName(d.To), len(d.Added), len(d.Removed), len(d.Changed))
			showChanges(w, "+", d.Added)
			showChanges(w, "-", d.Removed)
			showChanges(w, "~", d.Changed)
			return nil
		})
	}
	return c
}

func showChanges(w io.Writer, sign string, changes []wire.InstanceChange) {
	for _, c := range changes {
		fmt.Fprintf(w, "%s %s/%s/%s", sign, c.Namespace, c.Service, c.ID)
		if e := c.Event; e != nil {
			fmt.Fprintf(w, "  %s (%s, by %s)", oneLine(e.Summary), stamp(e.RecordedAt), dash(e.Actor))
		}
		fmt.Fprintln(w)
		for _, f := range c.Fields {
			fmt.Fprintf(w, "    %s: %s → %s\n", f.Field, compact(f.From), compact(f.To))
		}
	}
}

// instanceKeys are the names of a catalog's instances.
func instanceKeys(services []wire.ServiceInstances) map[string]bool {
	keys := map[string]bool{}
	for _, s := range services {
		for _, i := range s.Instances {
			keys[keyOf(&i)] = true
		}
	}
	return keys
}

func keyOf(i *wire.Instance) string { return i.Namespace + "/" + i.Service + "/" + i.ID }

// placeName names a moment as the server understood it.
func placeName(p wire.Place) string {
	if p.Time != nil {
		return fmt.Sprintf("%s (position %s)", stamp(*p.Time), p.Position)
	}
	return "position " + p.Position.String()
}
