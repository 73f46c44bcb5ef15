// Command rollcall is the whole of Rollcall: the registry's server and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/cmd/rollcall/bench"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Exit codes. They are part of the public contract (README).
const (
	exitFailed   = 1 // refused, unreachable, or broken
	exitUsage    = 2 // the command line makes no sense
	exitNotFound = 3 // what was asked for is not there
)

// oneSignal is the time in which signals that follow the first one count as the same: a terminal sends Ctrl-C to a whole group of
// processes, and some of them pass it on.
const oneSignal = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	log.SetOutput(io.Discard)                                          // net/http writes there, e.g. what a server sends that nobody asked for; a server has it logged (logLibraries)
	context.AfterFunc(ctx, func() { time.AfterFunc(oneSignal, stop) }) // the next signal ends the process, whatever it waits for (ADR 121)
	c := root()
	finish(c)
	out := &standardOutput{file: os.Stdout}
	c.SetOut(out)
	err := out.failed(c.ExecuteContext(ctx))
	signalled := context.Cause(ctx) // nil: no signal came
	stop()
	if code := childExit(0); errors.As(err, &code) { // the process has said what it had to say
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rollcall:", endLine(err, signalled))
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	var refused *wire.Problem
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.As(err, new(bench.UsageError)), errors.As(err, new(domain.InvalidField)):
		return exitUsage
	case errors.As(err, &refused) && refused.Type == wire.InvalidField: // what an argument says, the registry judges
		return exitUsage
	case errors.As(err, &refused) && refused.Type != wire.NoSuchRoute && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone):
		return exitNotFound
	}
	return exitFailed
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// endLine is the line that tells of a command's error. signalled names the signal that came meanwhile; nil: none came.
func endLine(err, signalled error) string {
	line := errorLine(err)
	if signalled != nil { // libraries know only that a context has ended
		line = strings.ReplaceAll(line, context.Canceled.Error(), signalled.Error())
	}
	return line
}

// errorLine is an error in one line, which says everything once. Errors that were joined stand in lines of their own.
func errorLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return visibleLine(strings.Join(parts, "; "))
}

// group is a command that has only commands below it.
func group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: knownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "rollcall",
		Short:         "A service registry that remembers",
		Long:          "Rollcall keeps every registration, heartbeat and deregistration as an immutable event,\nand answers what is registered now, what was then, and who changed it.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionName(),
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetVersionTemplate("rollcall {{.Version}}\n")
	c.SetFlagErrorFunc(flagError)
	c.AddGroup(&cobra.Group{ID: "server", Title: "Server:"}, &cobra.Group{ID: "client", Title: "Client:"}, &cobra.Group{ID: "audit", Title: "Audit:"})
	var remote commandLine
	remote.flags(c.PersistentFlags())
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if completes(c) { // the flags of the command that is completed are not read yet
			return nil
		}
		if err := remote.checkOutput(c); err != nil {
			return err
		}
		if c.Name() != "serve" {
			if err := refuseEmptyFlags(c); err != nil {
				return err
			}
		}
		if c.Annotations[asksNothing] != "" {
			return nil
		}
		return remote.settle(c.Flags())
	}
	measure := bench.Command(versionName(), func() bench.Target { return bench.Target{URL: remote.url, JSON: remote.output == asJSON} })
	measure.Annotations = map[string]string{lacksYAML: "yes"}
	for _, sub := range []*cobra.Command{serveCommand(), demoCommand(), rebuildCommand(&remote), migrateCommand(&remote), backupCommand(&remote), restoreCommand(&remote), storeCommand(&remote), accessRulesCommand(&remote), measure} {
		sub.GroupID = "server"
		c.AddCommand(sub)
	}
	for _, sub := range append(clientCommands(&remote), importCommand(&remote), tokenCommand(&remote), roleCommand(&remote), policyCommand(&remote), contextCommand(&remote), clusterCommand(&remote)) {
		sub.GroupID = "client"
		c.AddCommand(sub)
	}
	for _, sub := range auditCommands(&remote) {
		sub.GroupID = "audit"
		c.AddCommand(sub)
	}
	c.AddCommand(alone(printsWords(bench.FloorCommand(), "it is a part of rollcall bench")))
	c.AddCommand(versionCommand(&remote))
	complete(c, &remote)
	plainValues(c)
	markUsageErrors(c)
	return c
}

// finish has the commands that cobra adds refuse what they do not know, as others do.
func finish(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.RunE = func(_ *cobra.Command, args []string) error {
				named, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = knownCommand(named, rest)
				}
				if err != nil {
					return err
				}
				return named.Help()
			}
			c.Run = nil
		case "completion":
			c.Args = knownCommand
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			markUsageErrors(c)
			plainValues(c)
		}
	}
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
		err := check(c, args)
		if err == nil {
			err = refuseEmptyArguments(c, args)
		}
		if errors.As(err, new(usageError)) {
			return err
		}
		if err != nil {
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
