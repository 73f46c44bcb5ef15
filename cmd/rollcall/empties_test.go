package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A flag whose variable was not set widens nothing: a token for all namespaces, a revert of all services, the present instead of a moment.
func TestAFlagThatIsGivenIsNotEmpty(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	found := 0
	for _, c := range leaves(root()) {
		if c.Name() == "serve" { // it has a rule of its own, which knows the environment and the file
			continue
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if kind := f.Value.Type(); kind != "string" && kind != "stringSlice" && kind != "stringArray" && kind != momentType || describes(c, f.Name) || turnsOff(c, f.Name) {
				return
			}
			found++
			args := append(strings.Fields(pathOf(c)), "--"+f.Name, "")
			for range leastArguments(c) {
				args = append(args, "web/a")
			}
			err := runHere(t, args...)
			if err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), f.Name) {
				t.Errorf("%q: %v", args, err)
			}
		})
	}
	if found < 90 {
		t.Errorf("only %d flags were found", found)
	}
	for _, args := range [][]string{
		{"history", "--reason", ""}, {"instances", "web", "--tag", ","},
		{"services", "--at", "  "}, {"services", "--url", ""}, {"services", "--token", ""}, {"services", "--context", ""}, {"role", "set", "r", "--verb", "write", "--service", ""},
	} {
		if err := runHere(t, args...); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), "must not be empty") {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{
		{"deregister", "web/a", "--reason", ""}, {"register", "web/a", "--address", "10.0.0.5", "--zone", "", "--version", ""}, {"check", "pass", "web/a", "c", "--note", ""},
	} {
		if err := runHere(t, append(args, "--url", "127.0.0.1:1")...); err == nil || exitCode(err) != exitFailed {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// leastArguments is how many arguments a command needs.
func leastArguments(c *cobra.Command) int {
	for n := range 5 {
		if c.Args(c, slices.Repeat([]string{"web/a"}, n)) == nil {
			return n
		}
	}
	return 0
}

// The agent's help says what an empty value of these flags means.
func TestAnAgentWithoutALookupAddressAndANode(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if err := runHere(t, "agent", t.TempDir(), "--listen", "", "--node", "", "--url", "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
	for _, watched := range []string{"web", "*"} { // nobody could look it up
		err := runHere(t, "agent", t.TempDir(), "--listen", "", "--watch", watched, "--url", "127.0.0.1:1")
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "--watch") {
			t.Errorf("an agent that watches %s for nobody: %v", watched, err)
		}
	}
	if err := runHere(t, "agent", t.TempDir(), "--listen", "", "--watch", "web", "--dns-listen", "127.0.0.1:0", "--url", "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
}

// An empty argument names nothing.
func TestAnArgumentIsNotEmpty(t *testing.T) {
	for _, args := range []string{
		"policy show", "policy remove", "policy set", "webhooks history", "webhooks delete", "token show", "token revoke", "role remove", "check remove web/a",
		"access check", "backup", "backup verify", "restore", "history", "why", "ls", "get services", "watch", "cluster remove", "context use", "events export", "agent",
	} {
		if err := runHere(t, append(strings.Fields(args), "")...); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), "must not be empty") {
			t.Errorf("%s with an empty argument: %v", args, err)
		}
	}
	c := root()
	finish(c)
	c.SetArgs([]string{"completion", "bash", "x"})
	if err := c.Execute(); exitCode(err) != exitUsage {
		t.Errorf("completion bash with an argument: %v", err)
	}
}
