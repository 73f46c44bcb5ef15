package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func servicesCommand(remote *client) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "services",
		Short: "List services (of every namespace with --ns '*')",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			query := url.Values{}
			if at != "" {
				query.Set("at", at)
			}
			b, err := remote.call(c.Context(), http.MethodGet, "/v1/services", query, nil)
			if err != nil {
				return err
			}
			var list struct{ Services []wire.ServiceSummary }
			if err := json.Unmarshal(b, &list); err != nil {
				return fmt.Errorf("unreadable answer: %w", err)
			}
			return remote.print(c, b, func(w io.Writer) error {
				return table(w, "NAMESPACE\tSERVICE\tINSTANCES\tREADY\tSTATUSES", func(row func(...any)) {
					for _, s := range list.Services {
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

func instancesCommand(remote *client) *cobra.Command {
	var statuses, tags []string
	var zone, serviceVersion, at string
	var metadata map[string]string
	var ready bool
	c := &cobra.Command{
		Use:   "instances SERVICE",
		Short: "List a service's instances",
		Args:  cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.StringVar(&at, "at", "", atUsage)
	f.BoolVar(&ready, "ready", false, "only those that may get traffic")
	f.StringSliceVar(&statuses, "status", nil, "only of this status; may be given again")
	f.StringSliceVar(&tags, "tag", nil, "only with this tag; may be given again")
	f.StringVar(&zone, "zone", "", "only in this zone")
	f.StringVar(&serviceVersion, "service-version", "", "only of this version")
	f.StringToStringVar(&metadata, "meta", nil, "only with this metadata pair; may be given again")
	c.RunE = func(c *cobra.Command, args []string) error {
		query := url.Values{"leases": {"true"}}
		for name, values := range map[string][]string{"status": statuses, "tag": tags} {
			if len(values) > 0 {
				query[name] = values
			}
		}
		for name, value := range map[string]string{"zone": zone, "version": serviceVersion, "at": at} {
			if value != "" {
				query.Set(name, value)
			}
		}
		for key, value := range metadata {
			query.Set("meta."+key, value)
		}
		if ready {
			query.Set("ready", "true")
		}
		b, err := remote.call(c.Context(), http.MethodGet, "/v1/services/"+url.PathEscape(args[0])+"/instances", query, nil)
		if err != nil {
			return err
		}
		var list struct{ Instances []wire.Instance }
		if err := json.Unmarshal(b, &list); err != nil {
			return fmt.Errorf("unreadable answer: %w", err)
		}
		return remote.print(c, b, func(w io.Writer) error { return instanceTable(w, list.Instances) })
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
