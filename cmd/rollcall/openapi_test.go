package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clientTests is the npm package that reads the API's description as others do.
const clientTests = "../../docs/api/clienttest"

// The description passes a linter's recommended rules, and a client that is generated from it compiles
// strictly and tells a story against the real server.
func TestTheDescriptionMakesAClientThatWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if _, err := os.Stat(filepath.Join(clientTests, "node_modules")); err != nil {
		npm(t, clientTests, "ci", "--no-audit", "--no-fund")
	}
	for _, script := range []string{"lint", "generate", "compile"} {
		npm(t, clientTests, "run", "--silent", script)
	}
	scripts, err := os.ReadFile(filepath.Join(clientTests, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commandsOf(t, "../../docs/api/README.md") { // as the document has them
		if script, ours := strings.CutPrefix(command, "npx "); ours && !strings.Contains(string(scripts), `": "`+script+`"`) {
			t.Errorf("no script of the package is %s", script)
		}
	}
	p := startServer(t, t.TempDir())
	story := exec.Command("node", "build/js/story.js", p.url)
	story.Dir = clientTests
	if out, err := story.CombinedOutput(); err != nil {
		t.Errorf("the generated client's story: %v\n%s", err, out)
	}
}

func npm(t *testing.T, dir string, args ...string) {
	t.Helper()
	c := exec.Command("npm", args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("npm %v: %v\n%s", args, err, out)
	}
}
