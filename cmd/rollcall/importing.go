package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/domain"
)

func importCommand(remote *commandLine) *cobra.Command {
	c := group("import", "Copy the catalog of another registry in")
	c.AddCommand(importConsulCommand(remote))
	return c
}

func importConsulCommand(remote *commandLine) *cobra.Command {
	var from, token string
	var follow bool
	c := &cobra.Command{
		Use:   "consul --from URL",
		Short: "Copy the catalog of a Consul, or of another Rollcall's Consul API, in, and follow it",
		Long: `Registers each instance that a Consul has, with its node, tags, metadata and the status that its checks have there. Run
again, it changes only what differs. What is gone there is deregistered here if it was imported from there; an
instance that has registered here by itself is left alone. With --follow it goes on, and takes each change when
it happens. Each change is an event with the way consul, if the caller may operate the registry.`,
		Example: "  rollcall import consul --from http://127.0.0.1:8500 --follow",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&from, "from", "", "URL of the other registry's HTTP API")
	c.Flags().StringVar(&token, "from-token", "", "token for the other registry (CONSUL_HTTP_TOKEN, which other users of the machine do not see)")
	c.Flags().BoolVar(&follow, "follow", false, "go on, and take each change when it happens")
	c.RunE = func(c *cobra.Command, _ []string) error {
		u, err := url.Parse(from)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return usageError{fmt.Errorf("--from must be a URL such as http://127.0.0.1:8500, not %q", from)}
		}
		if remote.everywhere || remote.namespace == "*" {
			return usageError{fmt.Errorf("an import is into one namespace: name it with --ns")}
		}
		if token == "" {
			token = os.Getenv("CONSUL_HTTP_TOKEN")
		}
		if !client.Sendable(token) {
			return usageError{domain.InvalidField{Field: "from-token", Rule: "must be printable ASCII without a space"}}
		}
		registry, err := remote.clientWith(client.Options{Via: domain.ViaConsul})
		if err != nil {
			return err
		}
		i := &consul.Import{From: consul.Source(u), User: u.User, Token: token, HTTP: new(http.Client), Registry: registry, Logger: slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))}
		if follow {
			i.Follow(c.Context())
			return nil
		}
		done, err := i.Once(c.Context())
		if err != nil {
			return err
		}
		return remote.printValue(c, done, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%d services: %d instances registered or changed, %d deregistered, %d refused\n", done.Services, done.Registered, done.Deregistered, done.Refused)
			return err
		})
	}
	return c
}
