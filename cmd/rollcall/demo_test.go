package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The demo tells what happened at the moment at which it happened, the commands that it prints find the causes as they stand there, and
// Ctrl-C ends it.
func TestTheCommandsOfTheDemoFindTheCausesOfItsStory(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "demo", "--listen", "127.0.0.1:0", "--ttl", "2s")
	c.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }()
	url, story, commands := readStory(t, path, out)
	if len(commands) != 6 {
		t.Fatalf("it prints %d commands, want 6:\n%s", len(commands), strings.Join(commands, "\n"))
	}
	for i, want := range [][]string{
		{"3 changed", "version: 1.4.0 → 1.5.0", "by anonymous"},
		{"default/payments/payments-2 is gone: its lease expired", "nobody; the registry took it out", "last heartbeat"},
		{"self-preservation started in namespace default"},
		{"default/cart/cart-1 is gone: it was deregistered", "Why:  clean-up: this is the old cart"},
		{"address: 10.0.2.17", "version: 1.4.0", "status: passing"},
		{"1 instance:  registered again", "(deregistered by anonymous at ", `reason "clean-up: this is the old cart"`, "1 reverted."},
	} {
		run := exec.Command("sh", "-c", commands[i])
		answer, err := run.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", commands[i], err, answer)
		}
		for _, words := range want {
			if !strings.Contains(string(answer), words) {
				t.Errorf("%s\n%s\nit does not say %q", commands[i], answer, words)
			}
		}
	}
	stays(t, url, 6*time.Second) // three ttls: it is heard, for it ran all the time
	if all := strings.Join(story, "\n"); !strings.Contains(all, "Of the 12 instances in zone eu-1b, 12 are registered.") {
		t.Errorf("the partition cost instances:\n%s", all)
	}
	momentsAreTrue(t, url, story)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	if err := c.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if strings.TrimSpace(string(rest)) != "" {
		t.Errorf("the demo says at its end: %s", rest)
	}
	if left, err := filepath.Glob(filepath.Join(strings.TrimPrefix(c.Env[len(c.Env)-1], "TMPDIR="), "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v, %v", left, err)
	}
}

// stays wants the instance that was taken away by mistake to be registered as it was, and to have renewed its lease past a time.
// Where this machine is so slow that the lease lapses first, it was registered all the same.
func stays(t *testing.T, url string, past time.Duration) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := rollcall("get", "instance", "cart/cart-1", "--url", url, "-o", "json")
		if said, _ := rollcall("history", "cart/cart-1", "--url", url); err != nil && strings.Contains(said, "this reverts event") && strings.Contains(said, "lease expired") {
			t.Logf("it lapsed again: %s", said)
			return
		}
		if err != nil {
			t.Fatalf("cart-1 is not back: %v", err)
		}
		var i wire.Instance
		if err := json.Unmarshal([]byte(out), &i); err != nil || i.Epoch != 2 || i.Address != "10.0.2.17" || i.Version != "1.4.0" {
			t.Fatalf("it came back as %s, %v", out, err)
		}
		if i.LeaseExpiresAt != nil && i.LeaseExpiresAt.After(i.RegisteredAt.Add(past)) {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("its lease is not renewed: %s", out)
		}
	}
}

// readStory reads what a demo prints up to the end of its commands.
func readStory(t *testing.T, program string, out io.Reader) (url string, story, commands []string) {
	t.Helper()
	told := make(chan struct{}) // closed when all is read
	go func() {
		defer close(told)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			switch {
			case strings.HasPrefix(line, "Rollcall runs at "):
				url = strings.Fields(line)[3]
			case strings.HasPrefix(line, "  "+program+" "):
				commands = append(commands, strings.TrimSpace(line))
			case strings.HasPrefix(line, "More: "), strings.HasPrefix(line, "The story ends here"):
				return
			default:
				story = append(story, line)
			}
		}
	}()
	select {
	case <-told:
	case <-time.After(90 * time.Second):
		t.Fatal("the story does not end")
	}
	return url, story, commands
}

// momentsAreTrue holds the moments of the story against the log.
func momentsAreTrue(t *testing.T, url string, story []string) {
	t.Helper()
	out, err := rollcall("history", "--url", url, "--limit", "1000", "-o", "json", "--ns", "*")
	if err != nil {
		t.Fatal(err)
	}
	var page wire.HistoryPage
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, e := range page.Entries {
		recorded[stamp(e.RecordedAt)+" "+e.Type+" "+e.ID] = true
	}
	for words, event := range map[string]string{
		"checkout-1 drains":         domain.TypeTrafficChanged + " checkout-1",
		"checkout-3 is registered":  domain.TypeInstanceRegistered + " checkout-3",
		"The registry takes it out": domain.TypeLeaseExpired + " payments-2",
		"The registry doubts":       domain.TypeSelfPreservationStarted + " ",
		"Somebody deregisters":      domain.TypeInstanceDeregistered + " cart-1",
	} {
		found := false
		for _, line := range story {
			if strings.Contains(line, words) {
				found = true
				if at := line[:len(stampLayout)]; !recorded[at+" "+event] {
					t.Errorf("no %s is recorded at that moment: %s", event, line)
				}
			}
		}
		if !found {
			t.Errorf("the story does not tell %q:\n%s", words, strings.Join(story, "\n"))
		}
	}
}
