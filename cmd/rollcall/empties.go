package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A variable that is not set in a script must not make a command mean more than it says: a token for all namespaces, a revert of all
// services, the present instead of a past moment. So an argument or a flag that is given and empty is refused, except where the text only
// describes what is changed, or where the help says what an empty one means.

// refuseEmptyFlags refuses flags that were given an empty value. The settings of serve have a rule of their own (needValues).
func refuseEmptyFlags(c *cobra.Command) error {
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && isEmpty(f.Value) && !describes(c, f.Name) && !turnsOff(c, f.Name) {
			err = usageError{fmt.Errorf("--%s must not be empty: leave it out if it is not meant", f.Name)}
		}
	})
	return err
}

// isEmpty says whether a value, or one of a list, is empty.
func isEmpty(v pflag.Value) bool {
	if list, ok := v.(pflag.SliceValue); ok {
		all := list.GetSlice()
		return len(all) == 0 || slices.Contains(all, "")
	}
	return strings.TrimSpace(v.String()) == ""
}

// describes says whether a flag only describes what a command changes, so that an empty text is as good as any.
func describes(c *cobra.Command, flag string) bool {
	switch flag {
	case "reason":
		return c.Name() != "history" // there it picks events
	case "note", "description":
		return true
	case "zone", "version", "service-version", "tag":
		return c.Flags().Lookup("address") != nil // of an instance that is registered
	}
	return false
}

// turnsOff says whether an empty value of a flag turns off what is on otherwise, as its help says.
func turnsOff(c *cobra.Command, flag string) bool {
	return c.Name() == "agent" && (flag == "listen" || flag == "node")
}

// refuseEmptyArguments refuses empty arguments, but for those of a process that run starts.
func refuseEmptyArguments(c *cobra.Command, args []string) error {
	if i := slices.Index(args, ""); i >= 0 && c.Name() != "run" {
		return usageError{fmt.Errorf("argument %d must not be empty (see: %s --help)", i+1, c.CommandPath())}
	}
	return nil
}
