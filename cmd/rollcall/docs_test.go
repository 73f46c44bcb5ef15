package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// documents are the documents whose commands are run, in an order in which a reader would read them.
var documents = []string{"README.md", "docs/streams.md", "docs/audit.md", "docs/reports.md", "docs/access.md", "docs/health.md", "docs/operations.md", "docs/reliability.md", "docs/performance.md", "docs/cli.md", "docs/consul.md", "docs/dns.md", "docs/policies.md", "docs/checks.md", "docs/api/README.md", "docs/recipes/mistakes/README.md", "CONTRIBUTING.md"}

// runElsewhere are the documents whose commands another test runs.
var runElsewhere = []string{"docs/client.md", "docs/cluster.md"}

// notRun are the commands that TestTheCommandsOfTheDocuments leaves out, with the reason.
var notRun = []struct{ begins, because string }{
	{"make ", "builds, or runs this test"},
	{"go ", "runs benchmarks, or another test"},
	{"ROLLCALL_", "takes minutes: a long run, or a benchmark"},
	{"docker ", "needs a container runtime"},
	{"cd ", "TestTheDescriptionMakesAClientThatWorks and the module adapters/httpapi/generated make clients"},
	{"npm ", "TestTheDescriptionMakesAClientThatWorks makes a client"},
	{"npx ", "TestTheDescriptionMakesAClientThatWorks makes a client"},
	{"nswag ", "the document says so"},
	{"kiota ", "the document says so"},
	{"openapi-", "the document says so"},
	{"sh docs/recipes/mistakes/", "TestTheRecipesForMistakes runs the recipes"},
	{"sh docs/recipes/", "TestTheLoadBalancerRecipes runs the recipes"},
	{"node docs/recipes/", "TestTheLoadBalancerRecipes runs the recipes"},
	{"bin/rollcall serve", "every other command needs the server that the test runs already"},
	{"bin/rollcall services --url https:", "needs a server with TLS; TestTheServerSpeaksTLS asks one"},
	{"bin/rollcall bench", "takes minutes"},
	{"bin/rollcall import consul --from http://127.0.0.1:8500 --follow", "does not end; TestACatalogIsImportedAndFollowed runs the command"},
	{"bin/rollcall migrate", "needs a database; TestAHistoryMovesToAClusterAndBack runs the command"},
}

// endless matches the commands that run until they are stopped. They must print something.
var endless = regexp.MustCompile(`^curl -N |^bin/rollcall watch `)

// Each command of a ```sh block of a document is run as it is written, against a server with an empty data folder.
// A command must end with exit code 0. curl fails on an HTTP error.
func TestTheCommandsOfTheDocuments(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(folder, "bin", "rollcall")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".curlrc"), []byte("fail\nsilent\nshow-error\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, filepath.Join(folder, "rollcall-data"), "--webhook-allow-private", "--consul-listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--probes", "off") // no test asks another machine
	written := strings.NewReplacer(
		"localhost:7700", strings.TrimPrefix(p.url, "http://"),
		"https://example.com/", "http://127.0.0.1:1/",
		"127.0.0.1:8500", p.listens("consul's API is spoken"),
		"127.0.0.1 -p 8600", strings.Replace(p.listens("dns is answered"), ":", " -p ", 1),
	)
	for _, document := range documents {
		for _, command := range commandsOf(t, filepath.Join("../..", document)) {
			if reason := whyNotRun(command); reason != "" {
				continue
			}
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			c := exec.CommandContext(ctx, "sh", "-c", written.Replace(command))
			c.Dir, c.WaitDelay = folder, time.Second
			c.Env = append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "ROLLCALL_URL="+p.url, "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"))
			if endless.MatchString(command) {
				firstOutput(t, document, c)
				continue
			}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %s\n%v\n%s", document, command, err, out)
			}
		}
		for _, block := range fenced.FindAllStringSubmatch(readText(t, document), -1) {
			if block[1] != "json" || !strings.Contains(block[2], `"address"`) {
				continue
			}
			if status, body, err := p.send("PUT", "/v1/services/shown/instances/a-1", block[2]); err != nil || status >= 300 {
				t.Errorf("%s: the registration is refused: %d, %v\n%s", document, status, err, body)
			}
		}
	}
	for name, text := range manuals(t) {
		if strings.Contains(text, "```sh\n") && !slices.Contains(append(runElsewhere, documents...), name) {
			t.Errorf("no test runs the commands of %s", name)
		}
	}
}

func whyNotRun(command string) string {
	for _, n := range notRun {
		if strings.HasPrefix(command, n.begins) {
			return n.because
		}
	}
	return ""
}

// commandsOf gives the commands of a document's ```sh blocks. A line that ends with a backslash goes on.
func commandsOf(t *testing.T, document string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	inBlock := false
	command := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line) // a block may be part of a list
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```sh"
		case !inBlock || line == "":
		case strings.HasSuffix(line, `\`):
			command += line + "\n"
		default:
			commands = append(commands, command+line)
			command = ""
		}
	}
	return commands
}

// firstOutput runs a command until it has printed a line, and stops it.
func firstOutput(t *testing.T, document string, c *exec.Cmd) {
	t.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the shell may have a child
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	printed := make(chan bool, 1) // gets one value; never closed
	go func() { printed <- bufio.NewScanner(out).Scan() }()
	select {
	case ok := <-printed:
		if !ok {
			t.Errorf("%s: %s ended without a line", document, c.Args[2])
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: %s printed nothing", document, c.Args[2])
	}
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait()
}

// The recording is what the binary answers today, but for times, ids and the order of what happens at once.
func TestTheRecordingIsOfTheRealBinary(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("../../docs/recording/quickstart.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("bash", "../../docs/recording/record.sh", path, freePort(t))
	c.Stderr = os.Stderr
	now, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := recorded(string(now)), recorded(string(kept)); got != want {
		t.Errorf("the binary answers otherwise; make the recording anew with docs/recording/record.sh, and the README's outputs with it:\n%s", now)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(readme)) {
		command, ours := strings.CutPrefix(line, "bin/rollcall ")
		if ours && command != "serve\n" && !strings.Contains(string(kept), "$ rollcall "+command) {
			t.Errorf("the README has a command that is not recorded as it is: %s", line)
		}
	}
	shown := 0
	for _, block := range strings.Split(string(readme), "```console\n")[1:] {
		output, _, _ := strings.Cut(block, "\n```")
		if shown++; !strings.Contains(string(kept), output+"\n") {
			t.Errorf("the README shows what is not in the recording:\n%s", output)
		}
	}
	if shown < 4 {
		t.Errorf("the README shows %d outputs, want those of why, history, diff and watch", shown)
	}
}

var varies = regexp.MustCompile(`request [a-z0-9-]+|[0-9a-f]{8}-[0-9a-f-]{27}|root \S+|[0-9]+(\.[0-9]+)?([µm]?s\b)?`)

// recorded is what must be the same in each recording: the lines without numbers, ids and widths of columns, in any order.
func recorded(text string) string {
	lines := strings.Split(steady(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// steady is what must be the same each time that a command is run: its lines without numbers, ids and widths of columns.
func steady(text string) string {
	var lines []string
	text = strings.ReplaceAll(varies.ReplaceAllString(text, "N"), "from N:N:N to", "at") // of a plan of a revert: whether its seconds differ
	for line := range strings.Lines(text) {
		if strings.Contains(line, domain.TypeListeningInterrupted) {
			continue // a machine that stood still for a second makes one
		}
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}
