package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// browserTests is the npm package that opens the web UI in a browser.
const browserTests = "../../adapters/webui/browsertest"

// The scripts of the web UI hold their types, and each page does what it promises in a real browser.
func TestTheWebUIInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium; make tools installs it")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(browserTests, "node_modules")); err != nil {
		npm(t, browserTests, "ci", "--no-audit", "--no-fund")
	}
	npm(t, browserTests, "run", "--silent", "types")
	story := exec.Command("node", "story.js", path)
	story.Dir, story.Env = browserTests, append(os.Environ(), "CHROMIUM="+browser)
	if out, err := story.CombinedOutput(); err != nil {
		t.Errorf("the story in the browser: %v\n%s", err, out)
	}
}

func TestTheWebUICanBeOff(t *testing.T) {
	for flag, want := range map[string]int{"--ui=true": http.StatusOK, "--ui=false": http.StatusNotFound} {
		p := startServer(t, t.TempDir(), flag)
		reply, err := http.Get(p.url + "/ui/")
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		if reply.StatusCode != want {
			t.Errorf("%s: %d, want %d", flag, reply.StatusCode, want)
		}
	}
}
