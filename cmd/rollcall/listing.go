package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func servicesCommand(remote *commandLine) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "services",
		Short: "List services (of every namespace with --ns '*')",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			list, err := registry.Services(c.Context(), remote.namespace, client.Moment(at))
			if err != nil {
				return err
			}
			return remote.print(c, list.Raw, func(w io.Writer) error {
				defer warnHeld(c, registry, remote.namespace)
				return table(w, "NAMESPACE\tSERVICE\tINSTANCES\tREADY\tSTATUSES", func(row func(...any)) {
					for _, s := range list.Value.Services {
						var statuses []string
						for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
							statuses = append(statuses, fmt.Sprintf("%d %s", s.Statuses[status], status))
						}
						row(s.Namespace, s.Service, s.Instances, s.Ready, strings.Join(statuses, ", "))
					}
				})
			})
		},
	}
	c.Flags().StringVar(&at, "at", "", atUsage)
	return c
}

const atUsage = `as it was at a moment: RFC 3339 time, position, or "5m ago"`

func instancesCommand(remote *commandLine) *cobra.Command {
	var statuses, tags []string
	var zone, serviceVersion, at string
	var metadata map[string]string
	var ready bool
	var maxSilence float64
	c := &cobra.Command{
		Use:   "instances SERVICE",
		Short: "List a service's instances",
		Args:  cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.StringVar(&at, "at", "", atUsage)
	f.BoolVar(&ready, "ready", false, "only those that may get traffic")
	f.Float64Var(&maxSilence, "max-silence", 0, "leave out those that were silent for more than so many times their ttl, at least 1")
	f.StringSliceVar(&statuses, "status", nil, "only of this status; may be given again")
	f.StringSliceVar(&tags, "tag", nil, "only with this tag; may be given again")
	f.StringVar(&zone, "zone", "", "only in this zone")
	f.StringVar(&serviceVersion, "service-version", "", "only of this version")
	f.StringToStringVar(&metadata, "meta", nil, "only with this metadata pair; may be given again")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		if f.Changed("max-silence") && !(maxSilence >= 1) {
			return usageError{errors.New("--max-silence must be at least 1")}
		}
		filter := client.InstanceFilter{Ready: ready, Tags: tags, Zone: zone, Version: serviceVersion, Metadata: metadata, MaxSilence: maxSilence}
		for _, s := range statuses {
			filter.Statuses = append(filter.Statuses, domain.Status(s))
		}
		list, err := registry.Instances(c.Context(), remote.service(args[0]), client.InstancesQuery{InstanceFilter: filter, At: client.Moment(at), Leases: true})
		if err != nil {
			return err
		}
		return remote.print(c, list.Raw, func(w io.Writer) error {
			defer warnHeld(c, registry, remote.namespace)
			return instanceTable(w, list.Value.Instances)
		})
	}
	return c
}

func instanceTable(w io.Writer, instances []wire.Instance) error {
	return table(w, "ID\tADDRESS\tPORTS\tSTATUS\tTRAFFIC\tZONE\tVERSION\tTAGS\tLEASE", func(row func(...any)) {
		for _, i := range instances {
			var ports []string
			for _, name := range slices.Sorted(maps.Keys(i.Ports)) {
				ports = append(ports, fmt.Sprintf("%s=%d", name, i.Ports[name]))
			}
			lease := "-"
			if i.LeaseExpiresAt != nil {
				lease = time.Until(*i.LeaseExpiresAt).Round(time.Second).String()
			}
			row(i.ID, i.Address, dash(strings.Join(ports, ",")), i.Status, i.Traffic, dash(i.Zone), dash(i.Version), dash(strings.Join(i.Tags, ",")), lease)
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
