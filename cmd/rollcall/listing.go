package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func servicesCommand(remote *commandLine) *cobra.Command {
	var at momentFlag
	c := &cobra.Command{
		Use:   "services",
		Short: "List services (of every namespace with --ns '*')",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return remote.listServices(c, at.moment) },
	}
	momentVar(c.Flags(), &at, "at", atUsage)
	return c
}

// say writes what a reply notes beside its list; "": nothing.
func say(cmd *cobra.Command, note string) {
	if note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), note)
	}
}

const atUsage = "as it was at a moment: " + momentWords

func (c *commandLine) listServices(cmd *cobra.Command, at client.Moment) error {
	registry, err := c.client()
	if err != nil {
		return err
	}
	list, err := registry.Services(cmd.Context(), c.namespace, at)
	if err != nil {
		return err
	}
	names := func() (all []string) {
		for _, s := range list.Value.Services {
			all = append(all, c.nameOf(s.Namespace, s.Service))
		}
		return all
	}
	return c.show(cmd, list.Raw, names, func(w io.Writer) error {
		defer c.warnHeld(cmd, registry, c.namespace)
		defer say(cmd, list.Value.Note)
		title(w, "%s in %s", count(len(list.Value.Services), "service"), c.scopeWords())
		return serviceTable(w, list.Value.Services)
	})
}

func serviceTable(w io.Writer, services []wire.ServiceSummary) error {
	return table(w, "NAMESPACE\tSERVICE\tINSTANCES\tREADY\tSTATUSES|POSITION", func(row func(...any)) {
		for _, s := range services {
			ready := strconv.Itoa(s.Ready)
			if s.Panic != nil {
				ready += " (panic)"
			}
			row(s.Namespace, s.Service, s.Instances, ready, statusesText(s.Statuses), s.Position)
		}
	})
}

func statusesText(n map[domain.Status]int) string {
	var all []string
	for _, status := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%d %s", n[status], status))
	}
	return strings.Join(all, ", ")
}

// nameOf is a name as other commands take it: with the namespace where that is not --ns.
func (c *commandLine) nameOf(namespace, name string) string {
	if namespace == c.namespace {
		return name
	}
	return namespace + "/" + name
}

// count is a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// instanceListing is which instances of a service are listed.
type instanceListing struct {
	client.InstanceFilter
	statuses []string
	at       momentFlag
}

func (l *instanceListing) flags(c *cobra.Command) {
	f := c.Flags()
	momentVar(f, &l.at, "at", atUsage)
	f.BoolVar(&l.Ready, "ready", false, "only those that may get traffic")
	f.Float64Var(&l.MaxSilence, "max-silence", 0, "leave out those that were silent for more than so many times their ttl, at least 1")
	f.StringSliceVar(&l.statuses, "status", nil, "only of this status; may be given again")
	f.StringSliceVar(&l.Tags, "tag", nil, "only with this tag; may be given again")
	f.StringVar(&l.Zone, "zone", "", "only in this zone")
	versionVar(f, &l.Version, "only of this version")
	f.StringToStringVar(&l.Metadata, "meta", nil, "only with this metadata pair; may be given again")
	eachOnce(f, "meta")
}

func (l *instanceListing) filter(c *cobra.Command) (client.InstanceFilter, error) {
	if c.Flags().Changed("max-silence") && !(l.MaxSilence >= 1) {
		return l.InstanceFilter, usageError{errors.New("--max-silence must be at least 1")}
	}
	for _, name := range []string{"zone", "version"} {
		if c.Flags().Changed(name) && c.Flags().Lookup(name).Value.String() == "" {
			return l.InstanceFilter, usageError{fmt.Errorf("--%s must not be empty", name)}
		}
	}
	for _, s := range l.statuses {
		l.Statuses = append(l.Statuses, domain.Status(s))
	}
	return l.InstanceFilter, nil
}

func instancesCommand(remote *commandLine) *cobra.Command {
	var l instanceListing
	c := &cobra.Command{Use: "instances SERVICE", Short: "List a service's instances", Args: cobra.ExactArgs(1)}
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error { return remote.listInstances(c, args[0], &l) }
	return c
}

func (c *commandLine) listInstances(cmd *cobra.Command, name string, l *instanceListing) error {
	key, err := c.service(name)
	if err != nil {
		return err
	}
	filter, err := l.filter(cmd)
	if err != nil {
		return err
	}
	registry, err := c.client()
	if err != nil {
		return err
	}
	list, err := registry.Instances(cmd.Context(), key, client.InstancesQuery{InstanceFilter: filter, At: l.at.moment, Leases: true})
	if err != nil {
		return err
	}
	names := func() (all []string) {
		for _, i := range list.Value.Instances {
			all = append(all, i.Service+"/"+i.ID)
		}
		return all
	}
	return c.show(cmd, list.Raw, names, func(w io.Writer) error {
		defer c.warnHeld(cmd, registry, c.namespace)
		if p := list.Value.Panic; p != nil && filter.Ready {
			defer fmt.Fprintln(cmd.ErrOrStderr(), queries.PanicWarning([]wire.ServicePanic{{Namespace: list.Value.Namespace, Service: list.Value.Service, Panic: *p}}))
		}
		defer say(cmd, list.Value.Note)
		title(w, "%s of %s in namespace %s", count(len(list.Value.Instances), "instance"), name, c.namespace)
		return instanceTable(w, list.Value.Instances)
	})
}

func instanceTable(w io.Writer, instances []wire.Instance) error {
	return table(w, "ID\tADDRESS\tPORTS\tSTATUS\tTRAFFIC\tZONE\tVERSION\tTAGS\tLEASE|WEIGHT\tEPOCH\tOWNER\tSINCE\tMETADATA", func(row func(...any)) {
		for _, i := range instances {
			row(i.ID, i.Address, dash(portsText(i.Ports)), i.Status, i.Traffic, dash(i.Zone), dash(i.Version), dash(strings.Join(i.Tags, ",")), leaseText(&i, time.Now()),
				i.Weight, i.Epoch, dash(i.Owner), stamp(i.RegisteredAt), dash(pairsText(i.Metadata)))
		}
	})
}

func portsText(ports map[string]uint16) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		all = append(all, fmt.Sprintf("%s=%d", name, ports[name]))
	}
	return strings.Join(all, ",")
}

func pairsText(pairs map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		all = append(all, name+"="+oneLine(pairs[name]))
	}
	return strings.Join(all, ",")
}

// leaseText is how long a lease still holds.
func leaseText(i *wire.Instance, now time.Time) string {
	if i.LeaseExpiresAt == nil {
		return "-"
	}
	return i.LeaseExpiresAt.Sub(now).Round(time.Second).String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// lsCommand lists what is below a name, as a file system does.
func lsCommand(remote *commandLine) *cobra.Command {
	var l instanceListing
	c := &cobra.Command{
		Use:     "ls [SERVICE]",
		Short:   "List the services, or the instances of one",
		Example: "  rollcall ls\n  rollcall ls checkout --ready",
		Args:    cobra.MaximumNArgs(1),
	}
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			return remote.listInstances(c, args[0], &l)
		}
		for _, name := range []string{"ready", "max-silence", "status", "tag", "zone", "version", "meta"} {
			if c.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s is for the instances of a service: name one", name)}
			}
		}
		return remote.listServices(c, l.at.moment)
	}
	return c
}

func (c *commandLine) listNamespaces(cmd *cobra.Command, only string, at client.Moment) error {
	registry, err := c.client()
	if err != nil {
		return err
	}
	list, err := registry.Namespaces(cmd.Context(), at)
	if err != nil {
		return err
	}
	shown, raw := list.Value, list.Raw
	if only != "" {
		shown.Namespaces = slices.DeleteFunc(shown.Namespaces, func(n wire.NamespaceSummary) bool { return n.Namespace != only })
		if len(shown.Namespaces) == 0 {
			return notFound("nothing is registered in namespace " + only)
		}
		if raw, err = json.Marshal(shown); err != nil {
			return err
		}
	}
	names := func() (names []string) {
		for _, n := range shown.Namespaces {
			names = append(names, n.Namespace)
		}
		return names
	}
	return c.show(cmd, raw, names, func(w io.Writer) error {
		defer say(cmd, shown.Note)
		return table(w, "NAMESPACE\tSERVICES\tINSTANCES\tREADY|POSITION", func(row func(...any)) {
			for _, n := range shown.Namespaces {
				row(n.Namespace, n.Services, n.Instances, n.Ready, n.Position)
			}
		})
	})
}
