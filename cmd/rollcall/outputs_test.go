package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// meanwhile is what happens before a command of a document is run.
type meanwhile struct {
	before string // the command as the document has it
	do     func()
}

// The ```console blocks of a document are run in their order, each at its "$ ", and give the outputs that the document shows, but
// for times, ids and widths of columns. The steps are done in their order, each before the next command that it names.
func showsItsOutputs(t *testing.T, document string, env []string, folder string, written func(string) string, steps []meanwhile) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range fenced.FindAllStringSubmatch(readText(t, document), -1) {
		if block[1] != "console" {
			continue
		}
		for _, told := range strings.Split("\n"+block[2], "\n$ ")[1:] {
			command, want, _ := strings.Cut(told, "\n")
			if len(steps) > 0 && steps[0].before == command {
				steps[0].do()
				steps = steps[1:]
			}
			c := exec.Command("sh", "-c", written(command))
			c.Dir = folder
			c.Env = append(append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "NO_COLOR=1", "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH")), env...)
			out, _ := c.CombinedOutput() // some of the commands fail, and say why
			if steady(string(out)) != strings.TrimRight(steady(want), "\n") {
				t.Errorf("%s: %s\ngives another output:\n%s", document, command, out)
			}
			shown++
		}
	}
	if len(steps) > 0 || shown == 0 {
		t.Errorf("%s: %d outputs, and %d steps are left", document, shown, len(steps))
	}
}

// An auditor's questions: a lease lapses, an instance moves, drains and is deregistered, and somebody rewrites an event.
func TestTheOutputsOfTheAuditsDocument(t *testing.T) {
	t.Parallel()
	needs(t, "jq")
	const document = "docs/audit.md"
	folder := t.TempDir()
	data := filepath.Join(folder, "rc")
	p := startServer(t, data)
	p.says(t, "register checkout/a-1 --address 10.0.0.5 --port http=8080", "created")
	p.says(t, "register checkout/a-2 --address 10.0.0.6 --port http=8080 --ttl 2s", "created")
	p.says(t, "register cart/b-1 --address 10.0.1.5 --ttl 1h", "created")
	p.says(t, "heartbeat checkout/a-1", "renewed")
	eventually(t, "true", func() string {
		return fmt.Sprint(len(p.instances("checkout")) == 1)
	})
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commandsOf(t, filepath.Join(moduleRoot, document)) { // "yesterday"
		c := exec.Command("sh", "-c", command)
		c.Dir, c.Env = folder, append(os.Environ(), "ROLLCALL_URL="+p.url, "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	p.says(t, "register checkout/a-1 --address 10.0.0.9 --port http=8080", "updated")
	for _, args := range [][]string{{"drain", "checkout/a-1", "--reason", "deploy 7"}, {"deregister", "checkout/a-1", "--reason", "scaled down"}} {
		if out, err := rollcall(append(args, "--url", p.url)...); err != nil {
			t.Fatal(err, out)
		}
	}
	const verify = "rollcall verify --data ./rc --checkpoint checkpoint.txt --verifier-key checkpoint.key"
	showsItsOutputs(t, document, []string{"ROLLCALL_URL=" + p.url}, folder, func(command string) string {
		return strings.ReplaceAll(command, "localhost:7700", strings.TrimPrefix(p.url, "http://"))
	}, []meanwhile{
		{verify, func() {
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}},
		{verify, func() { tamper(t, filepath.Join(data, "events"), 2, "10.0.0.6", "10.6.6.6") }},
		{"rollcall rebuild --data ./rc", func() { tamper(t, filepath.Join(data, "events"), 2, "10.6.6.6", "10.0.0.6") }},
	})
}

// A script drains a service and deregisters instances of it, while another instance falls silent.
func TestTheOutputsOfTheRevertsDocument(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := startServer(t, data, "--access", "on")
	bot := inFolder(t, data, p.url, "deploy-bot", "--role", "admin")
	ids := strings.Split("abcdefghijklmno", "")
	for i, id := range ids {
		bot("register", "checkout/"+id, "--ns", "prod", "--address", "10.0.0.5", "--ttl", map[bool]string{true: "2s", false: "1h"}[i == 14])
	}
	moment := time.Now().UTC().Format(time.RFC3339Nano)
	for i, id := range ids[:14] {
		bot(map[bool]string{true: "drain", false: "deregister"}[i < 12], "checkout/"+id, "--ns", "prod", "--reason", "cleanup")
	}
	eventually(t, "true", func() string {
		return fmt.Sprint(strings.Contains(bot("why", "checkout/o", "--ns", "prod"), "lease expired"))
	})
	showsItsOutputs(t, "docs/revert.md", []string{"ROLLCALL_DATA=" + data}, t.TempDir(), func(command string) string {
		plan := regexp.MustCompile(`at position ([0-9]+)`).FindStringSubmatch(bot("revert", "--ns", "prod", "--to", moment, "--dry-run"))
		return strings.NewReplacer("03:11", moment, "4711", plan[1]).Replace(command)
	}, nil)
}

// A policy refuses a drain, which is forced past it.
func TestTheOutputsOfThePoliciesDocument(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := startServer(t, data, "--access", "on")
	ann := inFolder(t, data, p.url, "ann", "--role", "operator")
	ann("policy", "set", "keep-checkout", "--ns", "prod", "--service", "checkout", "--min-ready", "2")
	for _, id := range []string{"a-1", "a-2", "a-3"} {
		ann("register", "checkout/"+id, "--ns", "prod", "--address", "10.0.0.5", "--ttl", "1h")
	}
	ann("drain", "checkout/a-3", "--ns", "prod", "--reason", "deploy 7")
	showsItsOutputs(t, "docs/policies.md", []string{"ROLLCALL_DATA=" + data}, t.TempDir(), func(command string) string { return command }, nil)
}

// inFolder makes a token at the registry on a data folder, and gives a function that carries out commands with it.
func inFolder(t *testing.T, data, url, name string, bounds ...string) func(args ...string) string {
	t.Helper()
	as := []string{"--data", data}
	do := func(args ...string) string {
		t.Helper()
		out, err := rollcall(append(args, as...)...)
		if err != nil {
			t.Fatal(args, err, out)
		}
		return out
	}
	secret := regexp.MustCompile(`rollcall_\S+`).FindString(do(append([]string{"token", "create", name}, bounds...)...))
	as = []string{"--url", url, "--token", secret}
	return do
}
