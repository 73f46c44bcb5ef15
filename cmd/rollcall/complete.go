package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// completionTimeout bounds how long a shell waits for names that the registry has to give.
const completionTimeout = 700 * time.Millisecond

// completion is a function that completes an argument or a flag.
type completion = cobra.CompletionFunc

// complete gives every flag and argument whose values are known a completion. A registry that does not answer in time
// completes nothing, without a word: a shell has no place for an error.
func complete(c *cobra.Command, remote *commandLine) {
	completeAll(c, remote, map[string]completion{
		"output": oneOf(outputs...), "context": completeContexts,
		"ns":        remote.named(func(n *names) []string { return append(n.namespaces(), queries.AllNamespaces) }),
		"namespace": remote.named((*names).namespaces), "service": remote.named((*names).services), "instance": remote.named((*names).instancesOfFlag),
		"type": oneOf(queries.EventTypes()...), "status": oneOf(statuses...), "verb": oneOf(domain.AllVerbs.Names()...), "role": remote.named((*names).roles),
		"access": oneOf("on", "off"), "probes": oneOf("on", "off"), "log-level": oneOf("debug", "info", "warn", "error"), "log-format": oneOf("text", "json"),
		"tls-client-auth": oneOf("off", "optional", "required"), "on-lapse": oneOf("remove", "critical"), "source": oneOf(healthSources...),
		"restart": oneOf("no", "on-failure", "always"), "watch": remote.named(func(n *names) []string { return append(n.services(), queries.AllNamespaces) }),
		"via": oneOf(domain.Vias()...), "trusted-proxy-header": oneOf("any", "forwarded", "x-forwarded-for"), "anonymous-role": oneOf(builtInRoles()...),
		"kinds":    oneOf(revertKinds()...),
		momentType: oneOf("now", "5m ago", "1h ago", "1d ago", "yesterday", "today"),
	})
}

// completes says whether a command serves shells: it completes a command line, or writes a shell's script for that.
func completes(c *cobra.Command) bool {
	return c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd || c.HasParent() && c.Parent().Name() == "completion"
}

// fileFlags are the flags whose values are files or folders. The value of any other flag is never completed with a file's name.
var fileFlags = []string{
	"ca", "cert", "key", "token-file", "data", "config", "access-config", "tls-cert", "tls-key", "tls-client-ca", "tls-client-crl", "probe-ca", "claims", "checkpoint", "verifier-key",
}

func builtInRoles() (all []string) {
	for _, r := range domain.BuiltInRoles() {
		all = append(all, r.Name)
	}
	return all
}

func revertKinds() (all []string) {
	for _, kind := range domain.RevertKinds() {
		all = append(all, string(kind))
	}
	return all
}

func completeAll(c *cobra.Command, remote *commandLine, flags map[string]completion) {
	each := func(f *pflag.Flag) { completeFlag(c, f, flags) }
	c.Flags().VisitAll(each)
	c.PersistentFlags().VisitAll(each)
	if c.ValidArgsFunction == nil {
		if use := strings.Fields(c.Use); len(use) > 1 {
			c.ValidArgsFunction = remote.argument(c.CommandPath(), use[1:])
		}
	}
	for _, sub := range c.Commands() {
		completeAll(sub, remote, flags)
	}
}

func completeFlag(c *cobra.Command, f *pflag.Flag, flags map[string]completion) {
	complete := flags[f.Name]
	switch {
	case f.Value.Type() == momentType:
		complete = flags[momentType]
	case f.Name == "only" && c.Name() == "rebuild":
		complete = oneOf("history", "catalog")
	case slices.Contains(fileFlags, f.Name) && f.Value.Type() == "string":
		return // shells complete files by themselves
	case complete == nil:
		complete = oneOf()
	}
	_, isList := f.Value.(pflag.SliceValue)
	_ = c.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := ""
		if comma := strings.LastIndexByte(typed, ','); isList && comma >= 0 {
			before, typed = typed[:comma+1], typed[comma+1:]
		}
		values, directive := complete(c, args, typed)
		for i := range values {
			values[i] = before + values[i]
		}
		return values, directive
	}) // the error says that the flag has a completion already
}

var (
	statuses      = []string{string(domain.Starting), string(domain.Passing), string(domain.Warning), string(domain.Critical)}
	healthSources = []string{string(domain.FromClient), string(domain.FromCheck), string(domain.FromOperator)}
)

// oneOf completes a value of a few.
func oneOf(values ...string) completion {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return beginning(values, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func beginning(values []string, typed string) (fit []string) {
	for _, v := range values {
		if strings.HasPrefix(v, typed) {
			fit = append(fit, v)
		}
	}
	return fit
}

func completeContexts(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	file, err := loadContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(file.names(), typed), cobra.ShellCompDirectiveNoFileComp
}

// kindsOf says which names of the registry the words of a command's usage mean.
func kindsOf(path string) map[string]func(*names) []string {
	kinds := map[string]func(*names) []string{
		"SERVICE/ID": (*names).instances, "SERVICE": (*names).services, "[SERVICE]": (*names).services, "[SERVICE[/ID]]": (*names).instances,
		"SERVICE[/ID]": (*names).instances, "[NAMESPACE]": (*names).namespaces, "NAMESPACE": (*names).namespaces,
	}
	switch {
	case strings.Contains(path, " webhooks "):
		kinds["ID"] = (*names).webhooks
	case strings.Contains(path, " role "):
		kinds["NAME"] = (*names).roles
	case strings.Contains(path, " token "):
		kinds["NAME"] = (*names).tokens
	case strings.Contains(path, " cluster "):
		kinds["NODE"], kinds["[NODE]"] = (*names).members, (*names).members
	case strings.Contains(path, " policy "):
		kinds["NAME"] = (*names).policies
	case strings.Contains(path, " check ") && !strings.HasSuffix(path, " add"): // what is added is a definition
		kinds["CHECK"] = (*names).checks
	}
	return kinds
}

// argument completes the arguments of a command by how its usage calls them.
func (c *commandLine) argument(path string, use []string) completion {
	kinds := kindsOf(path)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		word := ""
		switch last := use[len(use)-1]; {
		case len(args) < len(use):
			word = use[len(args)]
		case strings.HasSuffix(last, "..."):
			word = last
		}
		if kind := kinds[word]; kind != nil {
			return c.named(kind)(cmd, args, typed)
		}
		if slices.Contains(fileWords, word) {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if strings.Contains(word, "|") {
			return beginning(strings.Split(word, "|"), typed), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// fileWords are how usages call files and folders.
var fileWords = []string{"FILE", "DIR", "FILE|FOLDER..."}

// names asks the registry for names that begin as typed.
type names struct {
	*commandLine
	cmd    *cobra.Command
	args   []string // before the one that is typed
	ctx    context.Context
	remote *client.Client
	typed  string
	more   bool // a name goes on: no space follows
}

// named completes with names that the registry has.
func (c *commandLine) named(list func(*names) []string) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if c.settle(cmd.Flags()) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		remote, err := c.reach(cmd, client.Options{Timeout: completionTimeout})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completionTimeout)
		defer cancel()
		n := &names{commandLine: c, cmd: cmd, args: args, ctx: ctx, remote: remote, typed: typed}
		found := beginning(list(n), typed)
		if n.more {
			return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func (n *names) namespaces() (all []string) {
	list, err := n.remote.Namespaces(n.ctx, "")
	if err != nil {
		return nil
	}
	for _, s := range list.Value.Namespaces {
		all = append(all, s.Namespace)
	}
	return all
}

func (n *names) services() (all []string) {
	list, err := n.remote.Services(n.ctx, n.namespace, "")
	if err != nil {
		return nil
	}
	for _, s := range list.Value.Services {
		all = append(all, s.Service)
	}
	return slices.Compact(all) // with --ns '*' several namespaces may have a service of that name
}

// instances are those of the service that is typed, or else the services, each with a slash.
func (n *names) instances() (all []string) {
	service, _, whole := strings.Cut(n.typed, "/")
	if !whole {
		n.more = true
		for _, name := range n.services() {
			all = append(all, name+"/")
		}
		return all
	}
	for _, id := range n.ids(service) {
		all = append(all, service+"/"+id)
	}
	return all
}

// instancesOfFlag are the ids of the service of the flag --service.
func (n *names) instancesOfFlag() []string {
	if f := n.cmd.Flags().Lookup("service"); f != nil {
		return n.ids(strings.Trim(f.Value.String(), "[]"))
	}
	return nil
}

func (n *names) ids(service string) (all []string) {
	list, err := n.remote.Instances(n.ctx, domain.ServiceKey{Namespace: n.namespace, Service: service}, client.InstancesQuery{})
	if err != nil {
		return nil
	}
	for _, i := range list.Value.Instances {
		all = append(all, i.ID)
	}
	return all
}

func (n *names) webhooks() (all []string) {
	list, err := n.remote.Webhooks(n.ctx)
	if err != nil {
		return nil
	}
	for _, w := range list.Value.Webhooks {
		all = append(all, w.ID)
	}
	return all
}

func (n *names) roles() (all []string) {
	list, err := n.remote.Roles(n.ctx)
	if err != nil {
		return builtInRoles()
	}
	for _, r := range list.Value.Roles {
		all = append(all, r.Name)
	}
	return all
}

func (n *names) tokens() (all []string) {
	list, err := n.remote.Tokens(n.ctx)
	if err != nil {
		return nil
	}
	for _, t := range list.Value.Tokens {
		all = append(all, t.Name)
	}
	return all
}

func (n *names) members() (all []string) {
	cluster, err := n.remote.Cluster(n.ctx)
	if err != nil {
		return nil
	}
	for _, m := range cluster.Value.Members {
		all = append(all, m.ID)
	}
	return all
}

func (n *names) policies() (all []string) {
	list, err := n.remote.Policies(n.ctx)
	if err != nil {
		return nil
	}
	for _, p := range list.Value.Policies {
		all = append(all, p.Name)
	}
	return all
}

// checks are those of the instance that is named before them, which are reported: of another kind than ttl none is.
func (n *names) checks() (all []string) {
	key, err := n.instance(n.args[0])
	if err != nil {
		return nil
	}
	list, err := n.remote.Checks(n.ctx, key.ServiceKey(), key.ID)
	if err != nil {
		return nil
	}
	for _, i := range list.Value.Instances {
		for _, check := range i.Checks {
			if n.cmd.Name() == "remove" || check.Kind == domain.CheckTTL {
				all = append(all, check.ID)
			}
		}
	}
	return all
}
