package generated

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	root        = "../../.."
	description = root + "/docs/api/openapi.yaml"
)

// The client compiles, and tells its story against the real server.
func TestAGoClientThatIsGeneratedWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	run(t, "go", "tool", "oapi-codegen", "-config", "config.yaml", description)
	run(t, "go", "vet", "-tags", "story", "./story", "./build/rollcall")
	run(t, "go", "run", "-tags", "story", "./story", startServer(t))
}

// A client of the last release goes on to work. After a release, its description takes the place of the one before:
//
//	cp docs/api/openapi.yaml docs/api/released/openapi.yaml
//
// docs/api/released/severities.txt has what the description tells clients to expect.
func TestNoReleasedClientBreaks(t *testing.T) {
	released := root + "/docs/api/released"
	run(t, "go", "tool", "oasdiff", "breaking", released+"/openapi.yaml", description, "--fail-on", "ERR", "--severity-levels", released+"/severities.txt")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// startServer starts the real server on an empty folder and gives its URL.
func startServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "rollcall")
	build := exec.Command("go", "build", "-o", binary, "./cmd/rollcall")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--log-format", "json")
	logs, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var entry struct{ Msg, URL string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
			go func() { // until the server ends
				for lines.Scan() {
				}
			}()
			return entry.URL
		}
	}
	t.Fatal("the server ended at its start")
	return ""
}
