package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endlessCommand is a command of a document that runs until it is stopped.
type endlessCommand struct {
	*exec.Cmd
	said *lockedBuffer
	done chan error // gets one value; never closed
}

// startEndless starts a command, and waits until it says something.
func startEndless(t *testing.T, c *exec.Cmd, words string) *endlessCommand {
	t.Helper()
	b := &endlessCommand{Cmd: c, said: &lockedBuffer{}, done: make(chan error, 1)}
	c.Stdout, c.Stderr = b.said, b.said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the shell may have children
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.done <- c.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	for began := time.Now(); !strings.Contains(b.said.String(), words); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-b.done:
			t.Fatalf("%s ended: %v\n%s", c.Args[len(c.Args)-1], err, b.said)
		default:
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%s does not say %q:\n%s", c.Args[len(c.Args)-1], words, b.said)
		}
	}
	return b
}

// stop asks the command to end, and asks again, which waits for no drain.
func (b *endlessCommand) stop(t *testing.T) {
	t.Helper()
	for range 2 {
		_ = syscall.Kill(-b.Process.Pid, syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond) // two signals at once are one
	}
	select {
	case <-b.done:
	case <-time.After(time.Minute):
		t.Errorf("%s does not end:\n%s", b.Args[len(b.Args)-1], b.said)
	}
}

// The commands of docs/client.md do what the document says, as they are written but for addresses and folders: a process is
// run, a lease is renewed by a script, and an agent registers what the document's file defines and answers lookups.
func TestTheCommandsOfTheClientsDocument(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const document = "../../docs/client.md"
	folder := t.TempDir()
	definitions := filepath.Join(folder, "instances")
	if err := os.Mkdir(definitions, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("the document has no file of definitions")
	}
	p := startServer(t, filepath.Join(folder, "data"))
	server, lookups := freePort(t), freePort(t)
	written := strings.NewReplacer(
		"rollcall run ", "rollcall run --address 127.0.0.1 ",
		"http=8080", "http="+server, ":8080", "127.0.0.1:"+server, "localhost:7701", "127.0.0.1:"+lookups, "rollcall agent ", "rollcall agent --listen 127.0.0.1:"+lookups+" --host host-1 ",
		"http://registry:7700", p.url, "/etc/rollcall/instances", definitions, "/var/lib/rollcall-agent", filepath.Join(folder, "agent"),
	)
	for name, content := range map[string]string{
		"server":           "#!/bin/sh\nexec rollcall serve --data '" + filepath.Join(folder, "served") + "' \"$@\"\n", // any server with /healthz
		".curlrc":          "fail\nsilent\nshow-error\n",
		"instances/a.yaml": strings.ReplaceAll(example, "http://127.0.0.1:8080", p.url),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, filepath.Join(folder, "rollcall")); err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, command := range commandsOf(t, document) {
		c := exec.Command("sh", "-c", written.Replace(command))
		c.Dir = folder
		c.Env = append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "ROLLCALL_URL="+p.url, "PATH="+folder+":"+os.Getenv("PATH"))
		words := strings.Join(strings.Fields(command)[:2], " ")
		ran[words] = true
		switch words {
		case "rollcall run":
			b := startEndless(t, c, "is registered (epoch 1)")
			b.stop(t)
			p.says(t, "history checkout", "stopped by signal 15, exited with code 0")
		case "rollcall heartbeat":
			b := startEndless(t, c, "default/checkout/a-1 created")
			b.stop(t)
		case "rollcall agent":
			startEndless(t, c, "the agent is ready")
			eventually(t, "1", func() string { return fmt.Sprint(len(p.instances("node"))) }) // the host itself
		default:
			out, err := c.CombinedOutput()
			if err != nil || !strings.Contains(string(out), `"service":"checkout"`) {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
	}
	for _, words := range []string{"rollcall run", "rollcall heartbeat", "rollcall agent", "curl 'localhost:7701/v1/services/checkout/instances?ready=true'"} {
		if !ran[words] {
			t.Errorf("the document has no %s any more", words)
		}
	}
}
