package clienttest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program runs a program until the test ends. Each line that it prints goes to says.
func program(t *testing.T, says func(string), name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; make tools installs it", err)
	}
	c := exec.Command(path, args...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			says(line(strings.Fields(lines.Text())))
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-read
		_ = c.Wait()
	})
}

func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Stderr = dir, os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return strings.TrimSpace(string(out))
}

// watchTemplate has consul-template write a file, and reads the file whenever it has written it.
func watchTemplate(t *testing.T, address string, says func(string)) {
	path := output(t, ".", "go", "tool", "-n", "github.com/hashicorp/consul-template")
	dir := t.TempDir()
	template, file := filepath.Join(dir, "web.tmpl"), filepath.Join(dir, "web")
	must(t, os.WriteFile(template, []byte(`{{range service "web"}}{{.ID}} {{end}}`+"\n"), 0o600))
	program(t, says, path, "-consul-addr", address, "-log-level", "err", "-consul-retry-backoff", "250ms", "-consul-retry-max-backoff", "1s",
		"-template", template+":"+file+":cat "+file)
}

// watchNode follows with the npm package consul, which package.json names.
func watchNode(t *testing.T, address string, says func(string)) {
	installNode(t)
	program(t, says, "node", "npm/watch.js", address)
}

func installNode(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("npm/node_modules/consul"); err != nil {
		output(t, "npm", "npm", "ci", "--no-audit", "--no-fund")
	}
}

// python is Debian's, whose package python3-consul it finds.
const python = "/usr/bin/python3"

func watchPython(t *testing.T, address string, says func(string)) {
	program(t, says, python, "python/watch.py", address)
}
