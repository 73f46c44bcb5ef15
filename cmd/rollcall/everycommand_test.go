package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// leaves are the commands that do something: every one that is no group of others.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	if len(c.Commands()) == 0 || c.Name() == "backup" || c.Name() == "preservation" {
		all = append(all, c)
	}
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

func pathOf(c *cobra.Command) string { return strings.TrimPrefix(c.CommandPath(), "rollcall ") }

// withoutRun are the commands that this test does not run, with the reason.
var withoutRun = map[string]string{
	"access check":     "needs a file of rules; it prints a text",
	"bench":            "takes seconds; cmd/rollcall/bench_test.go runs it with -o json",
	"cluster status":   "needs a cluster; cluster_test.go runs them",
	"cluster add":      "see cluster status",
	"cluster remove":   "see cluster status",
	"cluster transfer": "see cluster status",
	"cluster leave":    "see cluster status",
	"cluster recover":  "see cluster status",
	"import consul":    "needs a Consul; adapters/consul/clienttest runs it",
	"migrate":          "needs a database; TestAHistoryMovesToAClusterAndBack runs it",
	"restore":          "below, with the backup",
	"tail":             "never ends",
	"watch":            "never ends; TestWatchGoesOnAfterAKill reads its JSON",
	"events tail":      "never ends; TestATransferThatBreaksOff reads its JSON",
}

// everyCommand has arguments for each command: what they ask for is there, in the order in which they are run.
func everyCommand(data, folder string) [][]string {
	return [][]string{
		{"register", "web/a-1", "--address", "10.0.0.5", "--ttl", "1h", "--version", "1.0"},
		{"register", "web/a-2", "--address", "10.0.0.6", "--ttl", "1h"},
		{"heartbeat", "web/a-1"},
		{"health", "web/a-1", "warning", "--reason", "slow"},
		{"drain", "web/a-1", "--reason", "deploy"},
		{"check", "add", "web/a-1", "id=worker,kind=ttl,ttl=1h"}, {"check", "pass", "web/a-1", "worker"}, {"check", "warn", "web/a-1", "worker", "--reason", "slow"},
		{"check", "fail", "web/a-1", "worker"}, {"checks", "web"}, {"check", "remove", "web/a-1", "worker"},
		{"undrain", "web/a-1"},
		{"services"}, {"ls"}, {"ls", "web"}, {"instances", "web"},
		{"get", "instances", "web"}, {"get", "instances", "web/a-1"}, {"get", "services"}, {"get", "services", "web"}, {"get", "namespaces"},
		{"describe", "instance", "web/a-1"}, {"describe", "service", "web"},
		{"status"}, {"preservation"}, {"preservation", "status"}, {"preservation", "hold", "--reason", "test"}, {"preservation", "end"},
		{"history", "web/a-1"}, {"history"}, {"why", "web/a-1"}, {"catalog"}, {"diff", "--from", "1"},
		{"revert", "--service", "web", "--to", "3", "--dry-run"},
		{"policy", "set", "keep", "--min-ready", "1"}, {"policy", "list"}, {"policy", "show", "keep"}, {"policy", "remove", "keep"},
		{"timeline", "web", "--from", "1"}, {"timeline", "web/a-1", "--from", "1"}, {"histogram", "--from", "1", "--buckets", "3"}, {"histogram", "--service", "web", "--from", "1"},
		{"report", "service", "web", "--from", "1"}, {"report", "instance", "web/a-1", "--from", "1", "--below", "2"}, {"report", "namespace", "default", "--from", "1h ago"},
		{"events", "export", filepath.Join(folder, "events.ndjson")}, {"replay", "--speed", "0"},
		{"checkpoint"}, {"checkpoint", "--verifier-key"}, {"verify"},
		{"webhooks", "create", "https://hook.example/"}, {"webhooks", "list"}, {"webhooks", "deliveries", "WEBHOOK"}, {"webhooks", "history", "WEBHOOK"},
		{"webhooks", "pause", "WEBHOOK"}, {"webhooks", "resume", "WEBHOOK"}, {"webhooks", "replay", "WEBHOOK", "--from", "1"}, {"webhooks", "delete", "WEBHOOK"},
		{"token", "create", "TOKEN", "--role", "reader", "--data", data}, {"token", "list", "--data", data}, {"token", "show", "TOKEN", "--data", data},
		{"token", "rotate", "TOKEN", "--data", data}, {"token", "revoke", "TOKEN", "--data", data},
		{"role", "set", "mine", "--verb", "write", "--data", data}, {"role", "list", "--data", data}, {"role", "remove", "mine", "--data", data},
		{"context", "add", "here", "--use"}, {"context", "list"}, {"context", "show"}, {"context", "use", "here"}, {"context", "remove", "here"},
		{"deregister", "web/a-2", "--reason", "test"},
		{"version"},
		{"backup", filepath.Join(folder, "backup"), "--data", data}, {"backup", "verify", filepath.Join(folder, "backup")},
		{"restore", filepath.Join(folder, "backup"), "--data", filepath.Join(folder, "restored")},
		{"store", "stats", "--data", filepath.Join(folder, "restored")}, {"rebuild", "--data", filepath.Join(folder, "restored")},
		{"store", "forget", "--data", filepath.Join(folder, "nothing")},
	}
}

// Every command has -o json and yaml, or refuses them by name. A new command must be added here.
func TestEveryCommandSpeaksJSONOrRefusesItByName(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	data := t.TempDir()
	p := startServer(t, data, "--webhook-allow-private")
	seen := map[string]bool{}
	for _, output := range []string{asJSON, asYAML} {
		folder := t.TempDir()
		webhook := ""
		for _, args := range everyCommand(data, folder) {
			for i := range args {
				args[i] = strings.NewReplacer("WEBHOOK", webhook, "TOKEN", "bot-"+output).Replace(args[i])
			}
			c, _, err := root().Find(args)
			if err != nil {
				t.Fatal(args, err)
			}
			seen[pathOf(c)] = true
			if !slices.Contains(args, "--data") {
				args = append(args, "--url", p.url)
			}
			began := time.Now()
			out, err := onlyOutput(append(args, "-o", output)...)
			if took := time.Since(began); took > time.Second {
				t.Logf("%v took %v", args, took)
			}
			if err != nil {
				t.Errorf("rollcall %v -o %s: %v\n%s", args, output, err, out)
				continue
			}
			documents := documentsOf(t, output, out)
			if len(documents) == 0 {
				t.Errorf("rollcall %v -o %s prints nothing", args, output)
			}
			if args[0] == "webhooks" && args[1] == "create" {
				webhook, _ = documents[0]["id"].(string)
			}
		}
	}
	for _, c := range leaves(root()) {
		path := pathOf(c)
		if seen[path] || withoutRun[path] != "" {
			continue
		}
		if c.Annotations[wordsOnly] == "" {
			t.Errorf("rollcall %s: this test does not know whether it has -o json", path)
			continue
		}
		for _, output := range []string{asJSON, asYAML, asName} {
			args := append(strings.Fields(path), "-o", output)
			if c.Args(c, nil) != nil {
				args = append(args, "argument")
			}
			if _, err := rollcall(args...); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "rollcall "+path+" has no output "+output) {
				t.Errorf("rollcall %s -o %s: %v", path, output, err)
			}
		}
	}
}

// onlyOutput runs the command line, and gives its output without what it writes for people beside it.
func onlyOutput(args ...string) (string, error) {
	var out, beside bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&beside)
	err := c.Execute()
	return out.String(), err
}

// documentsOf parses what a command has printed.
func documentsOf(t *testing.T, output, text string) (all []map[string]any) {
	t.Helper()
	if output == asJSON {
		for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
			var document map[string]any
			if err := decoder.Decode(&document); err != nil {
				t.Errorf("not JSON: %v\n%s", err, text)
				return all
			}
			all = append(all, document)
		}
		return all
	}
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document map[string]any
		if err := decoder.Decode(&document); err != nil {
			return all
		}
		all = append(all, document)
	}
}

// Every flag that names a moment takes every time that a command prints.
func TestEveryPrintedTimeIsTakenByEveryFlagOfTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 3, 12, 5, 123456789, time.UTC)
	printed := []string{
		stamp(at), at.Format(time.RFC3339), at.Format(time.RFC3339Nano), at.In(time.FixedZone("", 5400)).Format(time.RFC3339Nano),
		at.Format("2006-01-02 15:04Z"), at.Format("2006-01-02 15:04:05.0 MST"), at.Format("2006-01-02 15:04:05Z"), "12", "12-ab12",
	}
	found := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			isTime := f.Value.Type() == momentType
			if !isTime && (f.Name == "at" || f.Name == "from" || f.Name == "to") && c.Name() != "migrate" && pathOf(c) != "import consul" {
				t.Errorf("rollcall %s --%s takes no moment", pathOf(c), f.Name)
			}
			if !isTime {
				return
			}
			found++
			for _, text := range slices.Concat(printed, []string{"2d ago", "-5m", "yesterday 14:00", "2026-03-01", "03:12", "@1772334720", "3 h 5 m ago"}) {
				if err := c.Flags().Set(f.Name, text); err != nil {
					t.Errorf("rollcall %s --%s %q: %v", pathOf(c), f.Name, text, err)
				}
			}
			if err := c.Flags().Set(f.Name, "when it broke"); err == nil {
				t.Errorf("rollcall %s --%s takes anything", pathOf(c), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
	if found < 15 {
		t.Errorf("only %d flags of time were found", found)
	}
}

// Every mistake is told in one line, with the exit code of a mistake.
func TestEveryMistakeIsOneLine(t *testing.T) {
	check := func(code int, args ...string) {
		t.Helper()
		out, err := rollcall(args...)
		if err == nil || exitCode(err) != code || strings.Contains(errorLine(err), "\n") || strings.TrimSpace(out) != "" {
			t.Errorf("rollcall %v: exit code %d, %q\n%s", args, exitCode(err), err, out)
		}
	}
	for _, c := range leaves(root()) {
		path := strings.Fields(pathOf(c))
		check(exitUsage, append(path, "--no-such-flag")...)
		check(exitUsage, append(path, "-o", "xml")...)
		check(exitUsage, append(path, "1", "2", "3", "4", "5")...)
		if c.InheritedFlags().Lookup("data") == nil && c.Flags().Lookup("at") != nil {
			check(exitUsage, append(path, "--at", "whenever")...)
		}
	}
	for args, says := range map[string]string{
		"servces":               `rollcall has no command "servces"; did you mean serve or services?`,
		"webhooks crate":        `rollcall webhooks has no command "crate"; did you mean create?`,
		"servces --cache 5":     `rollcall has no command "servces"; did you mean serve or services?`,
		"policy st p --bogus":   `rollcall policy has no command "st"; did you mean list or set?`,
		"instances web --redy":  "rollcall instances has no flag --redy; did you mean --key or --ready?",
		"instances web -q":      "rollcall instances has no flag -q",
		"services extra":        "unknown command",
		"why":                   "accepts 1 arg(s)",
		"services --ns=":        "--ns must not be empty",
		"services -A --ns shop": "do not go together",
		"instances web -A":      "service web is in one namespace",
		"why web/a -A":          "an instance is in one namespace",
		"status -o name":        "rollcall status has no output name",
		"diff":                  "--from is needed",
	} {
		_, err := rollcall(append(strings.Fields(args), "--url", "127.0.0.1:1")...)
		if args == "status -o name" {
			continue // it is refused with the answer
		}
		if err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("rollcall %s: %v; want %q", args, err, says)
		}
	}
}
