package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The commands of docs/cluster.md are run in their order as they are written, but for the ports. Servers stay in the
// background. Another command is run again until it succeeds: a reader would wait, too.
func TestTheCommandsOfTheClusterDocument(t *testing.T) {
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
	var ports []string
	for _, port := range []string{"7701", "7702", "7703", "7704", "7951", "7952", "7953", "7954"} {
		ports = append(ports, "127.0.0.1:"+port, freeAddress(t))
	}
	written := strings.NewReplacer(ports...)
	for _, command := range commandsOf(t, "../../docs/cluster.md") {
		if _, err := exec.LookPath("openssl"); err != nil && strings.Contains(command, "openssl ") {
			t.Logf("openssl is not there, so that this is not run: %s", command)
			continue
		}
		shell := func(text string) *exec.Cmd {
			c := exec.Command("sh", "-c", written.Replace(text))
			c.Dir, c.Env = folder, append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "ROLLCALL_MIN_FREE_MIB=1")
			return c
		}
		if server, ok := strings.CutSuffix(command, " &"); ok {
			c := shell("exec " + server)
			log, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			c.Stdout, c.Stderr = log, log
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = c.Process.Signal(syscall.SIGKILL)
				_ = c.Wait()
				if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
					t.Logf("%s\n%s", server, text)
				}
				_ = log.Close()
			})
			continue
		}
		deadline := time.Now().Add(2 * time.Minute)
		for {
			out, err := shell(command).CombinedOutput()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s\n%v\n%s", command, err, out)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
