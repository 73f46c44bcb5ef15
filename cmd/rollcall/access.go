package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	vouched "github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// accessRulesCommand has the commands about the file of --access-config.
func accessRulesCommand(remote *commandLine) *cobra.Command {
	c := group("access", "Check the rules of --access-config")
	c.AddCommand(checkRulesCommand(remote))
	return c
}

func checkRulesCommand(remote *commandLine) *cobra.Command {
	var claims, issuer, certificate string
	c := &cobra.Command{
		Use: "check FILE", Short: "Say whether a server can use a file of rules, and what it grants to whom", Args: cobra.ExactArgs(1),
		Long: `Say whether a server can use a file of rules, and with --claims or --certificate, what a caller would get by it. No
server is needed, and no issuer is asked. Whether the roles exist that the rules name, a server says in its log.`,
		Example: "  rollcall access check access.yaml --certificate spiffe://prod.example/ns/shop/sa/checkout",
	}
	c.Flags().StringVar(&claims, "claims", "", "file with a token's claims, in JSON: show what its bearer gets")
	c.Flags().StringVar(&issuer, "issuer", "", "name of the token's issuer, where the file has several")
	c.Flags().StringVar(&certificate, "certificate", "", "spiffe://… or cn:…: show what a certificate with this name gets")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := errors.Join(notTogether(c, "claims", "certificate"), needsFlag(c, "issuer", "claims")); err != nil {
			return err
		}
		config, err := vouched.Read(args[0])
		if err != nil {
			return err
		}
		var caller *web.Caller
		switch {
		case claims != "":
			var b []byte
			if b, err = durable.ReadRegular(claims); err == nil {
				caller, err = config.TryClaims(issuer, b)
			}
		case certificate != "":
			caller, err = config.TryCertificate(certificate)
		default:
			return remote.printText(c, "rules", config.Summary()+"\n")
		}
		if err != nil {
			return err
		}
		var text strings.Builder
		if err := showCaller(&text, caller); err != nil {
			return err
		}
		return remote.printText(c, "caller", text.String())
	}
	return c
}

// showCaller shows what a caller gets by the rules.
func showCaller(w io.Writer, caller *web.Caller) error {
	if len(caller.Rights) == 0 {
		_, err := fmt.Fprintf(w, "%s gets what callers get whom nothing names: no rule fits\n", caller.Name)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s gets:\n", caller.Name); err != nil {
		return err
	}
	return table(w, "ROLES\tNAMESPACES\tSERVICES\tINSTANCES", func(row func(...any)) {
		for _, r := range caller.Rights {
			row(strings.Join(r.Roles, ","), dash(joined(r.Namespaces)), dash(joined(r.Services)), dash(joined(r.Instances)))
		}
	})
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
