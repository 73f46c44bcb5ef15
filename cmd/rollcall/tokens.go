package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// accessLine is how commands about tokens and roles reach the registry: through the socket in the data folder, or at
// --url where that or a token is given.
type accessLine struct{ *commandLine }

// usesSocket marks the flag --data of commands that use the socket of its folder also where the flag is left out.
const usesSocket = "uses-socket"

func (a *accessLine) client(c *cobra.Command) (*client.Client, error) {
	return a.reach(c, client.Options{})
}

// reach is clientWith for any command: one about tokens or roles uses the socket without being told.
func (c *commandLine) reach(cmd *cobra.Command, options client.Options) (*client.Client, error) {
	flags := cmd.Flags()
	if f := flags.Lookup("data"); f == nil || f.Annotations[usesSocket] == nil || flags.Changed("url") || c.token != "" || c.tokenFile != "" || c.fromContext && !flags.Changed("data") {
		return c.clientWith(options)
	}
	data := flags.Lookup("data").Value.String()
	local, runs, err := localClient(data, c, options)
	if err == nil && !runs {
		err = fmt.Errorf("no registry runs on the data folder %s: give --data, or --url and a token", data)
	}
	return local, err
}

// accessCommand is a command that has the commands about tokens or roles.
func accessCommand(remote *commandLine, use, short, long string) (*cobra.Command, *accessLine) {
	line := &accessLine{commandLine: remote}
	c := group(use, short)
	c.Long = long
	c.PersistentFlags().String("data", fromEnv("ROLLCALL_DATA", "./rollcall-data"), "data folder of a registry on this machine, whose socket needs no token (ROLLCALL_DATA)")
	_ = c.PersistentFlags().SetAnnotation("data", usesSocket, []string{"yes"}) // the error says that there is no such flag
	return c, line
}

func tokenCommand(remote *commandLine) *cobra.Command {
	c, line := accessCommand(remote, "token", "Make, list and revoke the tokens by which callers are known",
		`A token's name is the actor of all that its bearer does. Its secret is shown once and kept nowhere.

The commands go through the socket in the data folder (--data), which needs no token, or to --url with a token that
may manage access.`)
	c.AddCommand(createTokenCommand(line), listTokensCommand(line), showTokenCommand(line), rotateTokenCommand(line), revokeTokenCommand(line))
	return c
}

func createTokenCommand(line *accessLine) *cobra.Command {
	var spec domain.TokenSpec
	var namespaces, services, instances []string
	var expires time.Duration
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a token, and show its secret once", Args: cobra.ExactArgs(1),
		Example: "  rollcall token create checkout --role service --namespace shop --service checkout --expires-in 2160h",
	}
	f := c.Flags()
	f.StringSliceVar(&spec.Roles, "role", nil, "reader, service, operator, auditor, admin or a role of one's own; may be given again")
	f.StringSliceVar(&namespaces, "namespace", nil, "only in this namespace, or pattern (team-*); may be given again")
	f.StringSliceVar(&services, "service", nil, "only this service, or pattern (pay*); may be given again")
	f.StringSliceVar(&instances, "instance", nil, "change only instances with this id, or pattern; may be given again")
	f.StringSliceVar(&spec.Networks, "network", nil, "good only from this network (10.0.0.0/8); may be given again")
	f.StringVar(&spec.Description, "description", "", "what it is for")
	f.DurationVar(&expires, "expires-in", 0, "how long it is good; for ever when left out")
	c.RunE = func(c *cobra.Command, args []string) error {
		spec.Namespaces, spec.Services, spec.Instances = patterns(namespaces), patterns(services), patterns(instances)
		if err := checkExpiresIn(c, expires); err != nil {
			return err
		}
		if expires != 0 {
			spec.Expires = time.Now().Add(expires).UTC().Truncate(time.Second)
		}
		registry, err := line.client(c)
		if err != nil {
			return err
		}
		reply, err := registry.CreateToken(c.Context(), args[0], spec)
		if err != nil {
			return err
		}
		return line.print(c, reply.Raw, func(w io.Writer) error { return showSecret(w, reply.Value) })
	}
	return c
}

// checkExpiresIn refuses a token that would be good for no time: 0 in a flag of one's own must not mean for ever.
func checkExpiresIn(c *cobra.Command, expires time.Duration) error {
	if c.Flags().Changed("expires-in") && expires <= 0 {
		return usageError{errors.New("--expires-in must be longer than 0; leave it out for a token without an end")}
	}
	return nil
}

func patterns(names []string) (all []domain.Pattern) {
	for _, n := range names {
		all = append(all, domain.Pattern(n))
	}
	return all
}

func showSecret(w io.Writer, t wire.Token) error {
	_, err := fmt.Fprintf(w, "token %s\nits secret, which is not shown again: %s\n", t.Name, t.Secret)
	return err
}

func listTokensCommand(line *accessLine) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the tokens that were not revoked", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := line.client(c)
			if err != nil {
				return err
			}
			list, err := registry.Tokens(c.Context())
			if err != nil {
				return err
			}
			names := func() (names []string) {
				for _, t := range list.Value.Tokens {
					names = append(names, t.Name)
				}
				return names
			}
			return line.show(c, list.Raw, names, func(w io.Writer) error { return tokenTable(w, list.Value.Tokens) })
		},
	}
}

func showTokenCommand(line *accessLine) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a token, revoked or not", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			registry, err := line.client(c)
			if err != nil {
				return err
			}
			reply, err := registry.Token(c.Context(), args[0])
			if err != nil {
				return err
			}
			return line.print(c, reply.Raw, func(w io.Writer) error { return tokenTable(w, []wire.Token{reply.Value}) })
		},
	}
}

func tokenTable(w io.Writer, tokens []wire.Token) error {
	return table(w, "NAME\tROLES\tNAMESPACES\tSERVICES\tINSTANCES\tNETWORKS\tEXPIRES\tLAST USED\tDESCRIPTION", func(row func(...any)) {
		for _, t := range tokens {
			expires, used := "-", "-"
			switch {
			case t.Revoked:
				expires = strings.TrimSuffix("revoked: "+oneLine(t.Reason), ": ")
			case !t.Expires.IsZero():
				expires = stamp(t.Expires)
			}
			if t.LastUsed != nil {
				used = stamp(*t.LastUsed)
			}
			row(t.Name, strings.Join(t.Roles, ","), dash(joined(t.Namespaces)), dash(joined(t.Services)), dash(joined(t.Instances)), dash(strings.Join(t.Networks, ",")), expires, used, dash(oneLine(t.Description)))
		}
	})
}

func joined(patterns []domain.Pattern) string {
	var all []string
	for _, p := range patterns {
		all = append(all, string(p))
	}
	return strings.Join(all, ",")
}

func rotateTokenCommand(line *accessLine) *cobra.Command {
	var keep, expires time.Duration
	c := &cobra.Command{Use: "rotate NAME", Short: "Give a token another secret, and show it once", Args: cobra.ExactArgs(1)}
	c.Flags().DurationVar(&keep, "keep-old", 0, "how long the secret before stays good, too, at most 720h")
	c.Flags().DurationVar(&expires, "expires-in", 0, "how long the token is good from now on; as it was when left out")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkExpiresIn(c, expires); err != nil {
			return err
		}
		how := wire.Rotation{KeepOld: domain.Duration(keep)}
		if expires != 0 {
			at := time.Now().Add(expires).UTC().Truncate(time.Second)
			how.Expires = &at
		}
		registry, err := line.client(c)
		if err != nil {
			return err
		}
		reply, err := registry.RotateToken(c.Context(), args[0], how)
		if err != nil {
			return err
		}
		return line.print(c, reply.Raw, func(w io.Writer) error { return showSecret(w, reply.Value) })
	}
	return c
}

func revokeTokenCommand(line *accessLine) *cobra.Command {
	return endCommand(line, "revoke NAME", "End a token for ever; every node refuses it within a second", "token", "revoked", (*client.Client).RevokeToken)
}
