package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// No command ends well whose output is lost, not one that prints a help either.
func TestNoCommandEndsWellWhoseOutputIsLost(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, t.TempDir())
	p.says(t, "register web/a --address 10.0.0.5 --ttl 1h", "created")
	for _, args := range []string{
		"help", "--help", "help serve", "services --help", "webhooks", "--version", "version", "completion", "completion bash", "__complete why web/",
		"services", "instances web -o yaml", "why web/a", "diff --from 1", "verify", "history", "events export -",
	} {
		c := exec.Command(path, strings.Fields(args)...)
		var beside strings.Builder
		c.Env, c.Stdout, c.Stderr = append(os.Environ(), "ROLLCALL_URL="+p.url), full, &beside
		_ = c.Run() // its exit code says how it ended
		const want = "rollcall: write /dev/stdout: no space left on device\n"
		if code := c.ProcessState.ExitCode(); code != exitFailed || !strings.HasSuffix(beside.String(), want) || strings.Count(beside.String(), want[10:]) > 1 {
			t.Errorf("rollcall %s into a full disk ends with %d and says:\n%s", args, code, &beside)
		}
	}
}

// A warning that a flag has another name now stands beside the output, which a program reads.
func TestAWarningOfAFlagStandsBesideTheOutput(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir())
	out, beside, code := run(t, []string{"ROLLCALL_URL=" + p.url}, "register", "web/a", "--address", "10.0.0.5", "--service-version", "1", "-o", "json")
	if code != 0 || !strings.HasPrefix(out, "{") || !strings.Contains(beside, "--service-version has been deprecated") {
		t.Errorf("it ends with %d and prints\n%s\nand beside it\n%s", code, out, beside)
	}
}

// A flag of a command hides none that all commands have, but for --data, which names a data folder everywhere, and earlier names.
func TestNoFlagHidesAGlobalOne(t *testing.T) {
	r := root()
	finish(r)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			global := r.PersistentFlags().Lookup(f.Name)
			if f.Name != "data" && f.Deprecated == "" && global != nil && global != f {
				t.Errorf("%s --%s hides the flag of all commands", c.CommandPath(), f.Name)
			}
			if short := r.PersistentFlags().ShorthandLookup(f.Shorthand); f.Shorthand != "" && short != nil && short != f {
				t.Errorf("%s -%s hides the flag of all commands", c.CommandPath(), f.Shorthand)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(r)
}
