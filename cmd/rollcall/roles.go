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

func roleCommand(remote *commandLine) *cobra.Command {
	c, line := accessCommand(remote, "role", "List, make and remove the roles that tokens have",
		"A role grants verbs within namespaces and services. The built-in roles cannot be changed.")
	c.AddCommand(listRolesCommand(line), setRoleCommand(line),
		endCommand(line, "remove NAME", "Remove a role that no token has", "role", "removed", (*client.Client).RemoveRole))
	return c
}

func listRolesCommand(line *accessLine) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the roles and what they grant", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := line.client(c)
			if err != nil {
				return err
			}
			list, err := registry.Roles(c.Context())
			if err != nil {
				return err
			}
			names := func() (names []string) {
				for _, r := range list.Value.Roles {
					names = append(names, r.Name)
				}
				return names
			}
			return line.show(c, list.Raw, names, func(w io.Writer) error {
				return table(w, "NAME\tVERBS\tNAMESPACE\tSERVICE\tDESCRIPTION", func(row func(...any)) {
					for _, r := range list.Value.Roles {
						for _, g := range r.Grants {
							row(r.Name, strings.Join(g.Verbs, ","), g.Namespace, g.Service, dash(oneLine(r.Description)))
						}
					}
				})
			})
		},
	}
}

func setRoleCommand(line *accessLine) *cobra.Command {
	var verbs, namespaces, services []string
	var role wire.RoleChange
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a role, or give it other grants", Args: cobra.ExactArgs(1),
		Example: "  rollcall role set deployers --verb read-catalog,write,traffic --namespace 'team-*'",
	}
	f := c.Flags()
	f.StringSliceVar(&verbs, "verb", nil, strings.Join(domain.AllVerbs.Names(), ", ")+"; may be given again")
	f.StringSliceVar(&namespaces, "namespace", []string{"*"}, "in this namespace, or pattern; may be given again")
	f.StringSliceVar(&services, "service", []string{"*"}, "for this service, or pattern; may be given again")
	f.StringVar(&role.Description, "description", "", "what it is for")
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, n := range namespaces {
			for _, s := range services {
				role.Grants = append(role.Grants, domain.RoleGrant{Verbs: verbs, Namespace: domain.Pattern(n), Service: domain.Pattern(s)})
			}
		}
		registry, err := line.client(c)
		if err != nil {
			return err
		}
		reply, err := registry.SetRole(c.Context(), args[0], role)
		if err != nil {
			return err
		}
		return line.print(c, reply.Raw, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "role %s set\n", args[0])
			return err
		})
	}
	return c
}

// endCommand ends what its argument names.
func endCommand(line *accessLine, use, short, kind, did string, end func(*client.Client, context.Context, string, string) error) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := line.client(c)
		if err != nil {
			return err
		}
		if err := end(registry, c.Context(), args[0], reason); err != nil {
			return err
		}
		return line.printDone(c, kind, args[0], did)
	}
	return c
}
