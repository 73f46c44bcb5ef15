package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// notFound is the error of something that is not there, of which the registry was not asked by its name.
func notFound(what string) error {
	return &wire.Problem{Type: wire.UnknownInstance, Status: http.StatusNotFound, Detail: what}
}

func getCommand(remote *commandLine) *cobra.Command {
	c := group("get", "Show instances, services or namespaces: all of them, or one")
	c.Example = "  rollcall get services\n  rollcall get instances checkout\n  rollcall get instance checkout/a-1 -o yaml\n  rollcall get namespaces"
	c.AddCommand(getInstancesCommand(remote), getServicesCommand(remote), getNamespacesCommand(remote))
	return c
}

func getInstancesCommand(remote *commandLine) *cobra.Command {
	var l instanceListing
	c := &cobra.Command{
		Use: "instances SERVICE[/ID]", Aliases: []string{"instance"}, Short: "Show the instances of a service, or one", Args: cobra.ExactArgs(1),
	}
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !strings.Contains(args[0], "/") {
			return remote.listInstances(c, args[0], &l)
		}
		registry, reply, err := remote.findInstance(c, args[0], l.at.moment)
		if err != nil {
			return err
		}
		i := reply.Value
		return remote.show(c, reply.Raw, func() []string { return []string{remote.nameOf(i.Namespace, i.Service+"/"+i.ID)} }, func(w io.Writer) error {
			defer remote.warnHeld(c, registry, i.Namespace)
			title(w, "instance of %s in namespace %s", i.Service, i.Namespace)
			return instanceTable(w, []wire.Instance{i})
		})
	}
	return c
}

func (c *commandLine) findInstance(cmd *cobra.Command, name string, at client.Moment) (*client.Client, client.Reply[wire.Instance], error) {
	key, err := c.instance(name)
	if err != nil {
		return nil, client.Reply[wire.Instance]{}, err
	}
	registry, err := c.client()
	if err != nil {
		return nil, client.Reply[wire.Instance]{}, err
	}
	reply, err := registry.Instance(cmd.Context(), key, at)
	return registry, reply, err
}

func getServicesCommand(remote *commandLine) *cobra.Command {
	var at momentFlag
	c := &cobra.Command{
		Use: "services [SERVICE]", Aliases: []string{"service", "svc"}, Short: "Show the services of a namespace, or one", Args: cobra.MaximumNArgs(1),
	}
	momentVar(c.Flags(), &at, "at", atUsage)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return remote.listServices(c, at.moment)
		}
		registry, s, raw, err := remote.findService(c, args[0], at.moment)
		if err != nil {
			return err
		}
		return remote.show(c, raw, func() []string { return []string{s.Service} }, func(w io.Writer) error {
			defer remote.warnHeld(c, registry, s.Namespace)
			title(w, "service %s in namespace %s", s.Service, s.Namespace)
			return serviceTable(w, []wire.ServiceSummary{s})
		})
	}
	return c
}

// findService is the summary of a service.
func (c *commandLine) findService(cmd *cobra.Command, name string, at client.Moment) (*client.Client, wire.ServiceSummary, []byte, error) {
	var s wire.ServiceSummary
	key, err := c.service(name)
	if err != nil {
		return nil, s, nil, err
	}
	registry, err := c.client()
	if err != nil {
		return nil, s, nil, err
	}
	reply, err := registry.Service(cmd.Context(), key, at)
	return registry, reply.Value, reply.Raw, err
}

func getNamespacesCommand(remote *commandLine) *cobra.Command {
	var at momentFlag
	c := &cobra.Command{
		Use: "namespaces [NAMESPACE]", Aliases: []string{"namespace", "ns"}, Short: "Count what is registered in each namespace", Args: cobra.MaximumNArgs(1),
	}
	momentVar(c.Flags(), &at, "at", atUsage)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.listNamespaces(c, strings.Join(args, ""), at.moment)
	}
	return c
}

func describeCommand(remote *commandLine) *cobra.Command {
	c := group("describe", "Show all that is known of an instance or a service, with what happened to it last")
	c.AddCommand(describeInstanceCommand(remote), describeServiceCommand(remote))
	return c
}

// recent is how many entries of the history a description has.
const recent = 5

func describeInstanceCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "instance SERVICE/ID", Short: "Show an instance, its lease, and what happened to it last", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			registry, reply, err := remote.findInstance(c, args[0], "")
			if err != nil {
				return err
			}
			past, err := registry.History(c.Context(), client.HistoryQuery{Instance: reply.Value.Key(), Limit: recent})
			if err != nil {
				return err
			}
			described := map[string]any{"instance": json.RawMessage(reply.Raw), "history": past.Value.Entries}
			return remote.printValue(c, described, func(w io.Writer) error {
				if err := describeInstance(w, &reply.Value, past.Value.Entries); err != nil {
					return err
				}
				fmt.Fprintln(w)
				return historyTable(w, wire.HistoryPage{Entries: past.Value.Entries})
			})
		},
	}
}

func describeInstance(w io.Writer, i *wire.Instance, past []wire.HistoryEntry) error {
	return table(w, "INSTANCE\t"+i.Key().String(), func(row func(...any)) {
		row("address", i.Address)
		row("ports", dash(portsText(i.Ports)))
		row("status", fmt.Sprintf("%s%s", i.Status, whoseWord(past)))
		row("traffic", i.Traffic)
		if m := i.Maintenance; m != nil {
			row("maintenance", oneLine(fmt.Sprintf("since %s, by %s %s", stamp(m.At), dash(m.By), m.Reason)))
		}
		row("zone", dash(i.Zone))
		row("version", dash(i.Version))
		row("weight", i.Weight)
		row("tags", dash(strings.Join(i.Tags, ",")))
		row("metadata", dash(pairsText(i.Metadata)))
		row("owner", dash(i.Owner))
		row("epoch", fmt.Sprintf("%d, since %s", i.Epoch, stamp(i.RegisteredAt)))
		row("changed", fmt.Sprintf("%s (revision %d)", stamp(i.ChangedAt), i.Revision))
		row("ttl", i.TTL)
		if i.ExpiryHeld != nil {
			row("expiry", "held since "+stamp(i.ExpiryHeld.Since)+", by "+dash(i.ExpiryHeld.Actor))
		}
	})
}

// whoseWord says who reported the present status, if the newest entries of the history tell.
func whoseWord(past []wire.HistoryEntry) string {
	for _, e := range past {
		if e.Type != domain.TypeHealthChanged {
			continue
		}
		var change domain.HealthChanged
		if err := json.Unmarshal(e.Data, &change); err != nil {
			return ""
		}
		return fmt.Sprintf(", said by %s (%s) at %s", sourceWords(change.Source), dash(e.Actor), stamp(e.RecordedAt))
	}
	return ""
}

// sourceWords name who reported a status.
func sourceWords(s domain.HealthSource) string {
	switch s {
	case domain.FromClient:
		return "the instance"
	case domain.FromCheck:
		return "a check"
	case domain.FromOperator:
		return "an operator"
	}
	return "the " + string(s)
}

func describeServiceCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "service SERVICE", Aliases: []string{"svc"}, Short: "Show a service, its instances, and what happened to them last", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			registry, s, raw, err := remote.findService(c, args[0], "")
			if err != nil {
				return err
			}
			key := domain.ServiceKey{Namespace: s.Namespace, Service: s.Service}
			list, err := registry.Instances(c.Context(), key, client.InstancesQuery{Leases: true})
			if err != nil {
				return err
			}
			past, err := registry.History(c.Context(), client.HistoryQuery{Service: key, Limit: 2 * recent})
			if err != nil {
				return err
			}
			described := map[string]any{"service": json.RawMessage(raw), "instances": list.Value.Instances, "history": past.Value.Entries}
			return remote.printValue(c, described, func(w io.Writer) error {
				defer remote.warnHeld(c, registry, s.Namespace)
				title(w, "service %s in namespace %s: %s, %d ready, %s\n", s.Service, s.Namespace, count(s.Instances, "instance"), s.Ready, statusesText(s.Statuses))
				if err := instanceTable(w, list.Value.Instances); err != nil {
					return err
				}
				fmt.Fprintln(w)
				return historyTable(w, wire.HistoryPage{Entries: past.Value.Entries})
			})
		},
	}
}
