package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// knownCommand refuses an argument of a group of commands, and names the commands that may have been meant.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	return usageError{fmt.Errorf("%s has no command %q%s (see: %s --help)", c.CommandPath(), args[0], didYouMean(c.SuggestionsFor(args[0])), c.CommandPath())}
}

// flagError is the error of a flag that is not there, or whose value is wrong.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError{err}
	}
	if c.HasSubCommands() && c.Use == c.Name() { // it takes no words but commands; the flag may be one of the command that is meant
		if err := knownCommand(c, c.Flags().Args()); err != nil {
			return err
		}
	}
	name := unknown.GetSpecifiedName()
	if len(name) == 1 {
		return usageError{fmt.Errorf("%s has no flag -%s (see: %s --help)", c.CommandPath(), name, c.CommandPath())}
	}
	var near []string
	for _, flag := range similarFlags(c, name) {
		near = append(near, "--"+flag)
	}
	return usageError{fmt.Errorf("%s has no flag --%s%s (see: %s --help)", c.CommandPath(), name, didYouMean(near), c.CommandPath())}
}

// similarFlags are the command's flags that are nearly called so. Cobra knows what is similar only of commands.
func similarFlags(c *cobra.Command, name string) []string {
	probe := &cobra.Command{SuggestionsMinimumDistance: 2}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			probe.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	return probe.SuggestionsFor(name)
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}
