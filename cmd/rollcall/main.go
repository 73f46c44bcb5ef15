// Command rollcall is the whole of Rollcall: the registry's server and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/cmd/rollcall/bench"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// version is set by the release build; a build from source names its commit.
var version = ""

// Exit codes. They are part of the public contract (README).
const (
	exitFailed   = 1 // refused, unreachable, or broken
	exitUsage    = 2 // the command line makes no sense
	exitNotFound = 3 // what was asked for is not there
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if code := childExit(0); errors.As(err, &code) { // the process has said what it had to say
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rollcall:", err)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	var refused *wire.Problem
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.As(err, new(bench.UsageError)):
		return exitUsage
	case errors.As(err, &refused) && refused.Type != wire.NoSuchRoute && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone):
		return exitNotFound
	}
	return exitFailed
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "rollcall",
		Short:         "A service registry that remembers",
		Long:          "Rollcall keeps every registration, heartbeat and deregistration as an immutable event,\nand answers what is registered now, what was then, and who changed it.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionName(),
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetVersionTemplate("rollcall {{.Version}}\n")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddGroup(&cobra.Group{ID: "server", Title: "Server:"}, &cobra.Group{ID: "client", Title: "Client:"}, &cobra.Group{ID: "audit", Title: "Audit:"})
	var remote commandLine
	flags := c.PersistentFlags()
	flags.StringVar(&remote.url, "url", fromEnv("ROLLCALL_URL", "http://127.0.0.1:7700"), "where the server is (ROLLCALL_URL)")
	flags.StringVar(&remote.ca, "ca", fromEnv("ROLLCALL_CA", ""), "authorities that the server's certificate is checked with, in PEM (ROLLCALL_CA)")
	flags.StringVar(&remote.cert, "cert", fromEnv("ROLLCALL_CERT", ""), "certificate to show to the server, in PEM (ROLLCALL_CERT)")
	flags.StringVar(&remote.key, "key", fromEnv("ROLLCALL_KEY", ""), "private key of the certificate, in PEM (ROLLCALL_KEY)")
	flags.StringVar(&remote.namespace, "ns", fromEnv("ROLLCALL_NS", "default"), "namespace (ROLLCALL_NS)")
	flags.StringVar(&remote.token, "token", "", "secret of the token to show to the server (ROLLCALL_TOKEN, which other users of the machine do not see)")
	flags.StringVar(&remote.tokenFile, "token-file", fromEnv("ROLLCALL_TOKEN_FILE", ""), "file with the token to show to the server, such as the token of a Kubernetes service account (ROLLCALL_TOKEN_FILE)")
	flags.StringVarP(&remote.output, "output", "o", "table", "table or json")
	for _, sub := range []*cobra.Command{serveCommand(), demoCommand(), rebuildCommand(), migrateCommand(), backupCommand(&remote), restoreCommand(), storeCommand(), accessRulesCommand(), bench.Command(versionName(), func() bench.Target { return bench.Target{URL: remote.url, JSON: remote.output == "json"} })} {
		sub.GroupID = "server"
		c.AddCommand(sub)
	}
	for _, sub := range append(clientCommands(&remote), tokenCommand(&remote), roleCommand(&remote)) {
		sub.GroupID = "client"
		c.AddCommand(sub)
	}
	for _, sub := range auditCommands(&remote) {
		sub.GroupID = "audit"
		c.AddCommand(sub)
	}
	c.AddCommand(bench.FloorCommand())
	c.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "rollcall", versionName())
			return err
		},
	})
	markUsageErrors(c)
	return c
}

// markUsageErrors makes wrong arguments usage errors, as wrong flags are.
func markUsageErrors(c *cobra.Command) {
	for _, sub := range c.Commands() {
		markUsageErrors(sub)
	}
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w (see: %s --help)", err, c.CommandPath())}
		}
		return nil
	}
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func versionName() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}
