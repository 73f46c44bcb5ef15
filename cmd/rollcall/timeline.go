package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func timelineCommand(remote *commandLine) *cobra.Command {
	var from, to momentFlag
	var limit int
	c := &cobra.Command{
		Use: "timeline SERVICE[/ID]", Short: "Show the states of a service's instances, or of one, as intervals", Args: cobra.ExactArgs(1),
		Long: `An interval is a time in which an instance was registered and its epoch, owner, status, traffic, zone and version stayed
the same. It names the events that began and ended it.`,
		Example:     "  rollcall timeline checkout --from '1h ago'\n  rollcall timeline checkout/a-1 --from yesterday --to today -o csv",
		Annotations: map[string]string{hasSheets: "yes"},
	}
	f := c.Flags()
	momentVar(f, &from, "from", "where the span begins; needed: "+momentWords)
	momentVar(f, &to, "to", "where the span ends; left out, now")
	f.IntVar(&limit, "limit", 0, "intervals that begin in the span, at most; left out, the registry's default")
	c.RunE = func(c *cobra.Command, args []string) error {
		if from.moment == "" {
			return usageError{errors.New("--from is needed: the moment at which the timeline begins")}
		}
		if c.Flags().Changed("limit") && limit < 1 {
			return usageError{errors.New("--limit must be at least 1")}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		q := client.TimelineQuery{From: from.moment, To: to.moment, Limit: limit}
		var reply client.Reply[wire.Timeline]
		if strings.Contains(args[0], "/") {
			key, wrong := remote.instance(args[0])
			if wrong != nil {
				return wrong
			}
			reply, err = registry.InstanceTimeline(c.Context(), key, q)
		} else {
			key, wrong := remote.service(args[0])
			if wrong != nil {
				return wrong
			}
			reply, err = registry.ServiceTimeline(c.Context(), key, q)
		}
		if err != nil {
			return err
		}
		t := &reply.Value
		if t.CompleteTo.Before(t.To) { // on standard error: the output may be for a program
			fmt.Fprintf(c.ErrOrStderr(), "it is complete up to %s: ask again with --from '%s', or with a greater --limit\n", stamp(t.CompleteTo), t.CompleteTo.Format(time.RFC3339Nano))
		}
		return remote.printSheet(c, reply.Raw, t, nil)
	}
	return c
}

func histogramCommand(remote *commandLine) *cobra.Command {
	var from, to momentFlag
	var service, types string
	var buckets int
	c := &cobra.Command{
		Use: "histogram", Short: "Count events over time, by type", Args: cobra.NoArgs,
		Long: `Cuts a span into equal parts and counts the events of each type in each. Heartbeats are not counted. Events of no instance,
such as those of policies, are counted with -A.`,
		Example:     "  rollcall histogram --from '24h ago' --buckets 24\n  rollcall histogram --service checkout --from '7d ago' --type LeaseExpired,InstanceRegistered -o csv",
		Annotations: map[string]string{hasSheets: "yes"},
	}
	f := c.Flags()
	momentVar(f, &from, "from", "where the span begins; needed: "+momentWords)
	momentVar(f, &to, "to", "where the span ends; left out, now")
	f.StringVar(&service, "service", "", "only events of this service")
	f.StringVar(&types, "type", "", "only events of these types, with commas between them")
	f.IntVar(&buckets, "buckets", 24, "into how many parts the span is cut: 1 to 1000")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if from.moment == "" {
			return usageError{errors.New("--from is needed: the moment at which the histogram begins")}
		}
		if buckets < 1 {
			return usageError{errors.New("--buckets must be 1 to 1000")}
		}
		q := client.HistogramQuery{Service: service, From: from.moment, To: to.moment, Buckets: buckets}
		if types != "" {
			q.Types = strings.Split(types, ",")
		}
		if q.Namespace = remote.scopeOf(c, q.Types); service != "" {
			key, err := remote.service(service)
			if err != nil {
				return err
			}
			q.Namespace = key.Namespace
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := registry.Histogram(c.Context(), q)
		if err != nil {
			return err
		}
		h := &reply.Value
		return remote.printSheet(c, reply.Raw, h, func(w io.Writer) error {
			title(w, "%s from %s to %s", count(h.Total, "event"), stamp(h.From), stamp(h.To))
			return nil
		})
	}
	return c
}
