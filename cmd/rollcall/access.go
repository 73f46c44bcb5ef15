package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	vouched "github.com/rollcall-registry/rollcall/adapters/access"
)

// accessRulesCommand has the commands about the file of --access-config.
func accessRulesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "access", Short: "Check the rules of --access-config", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "check FILE", Short: "Say whether a server can use a file of rules", Args: cobra.ExactArgs(1),
		Long: `Say whether a server can use a file of rules. No server is needed, and no issuer is asked. Whether the roles exist that
the rules name, a server says in its log.`,
		RunE: func(c *cobra.Command, args []string) error {
			config, err := vouched.Read(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), config.Summary())
			return err
		},
	})
	return c
}

// reloadRules reads the file of rules again at each SIGHUP until the context ends. Without the file, SIGHUP ends the
// process, as it ends any other.
func (n *node) reloadRules(ctx context.Context) error {
	if n.settings.accessFile == "" {
		return nil
	}
	hangups := make(chan os.Signal, 1) // a second signal is dropped while one waits
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			n.vouched.Reload()
		}
	}
}
