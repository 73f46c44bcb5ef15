package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The recipes for mistakes: the policies refuse a mistake, what is forced past them is taken back, and the report tells of it.
func TestTheRecipesForMistakes(t *testing.T) {
	needs(t, "jq")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, t.TempDir())
	env := []string{"ROLLCALL_URL=" + p.url}
	do := func(code int, want string, args ...string) {
		t.Helper()
		if out, errs, got := run(t, env, append(args, "--ns", "prod")...); got != code || !strings.Contains(out+errs, want) {
			t.Fatalf("%v gave %d, %s%s, not %d and %q", args, got, out, errs, code, want)
		}
	}
	recipe := func(input, script string, args ...string) (string, error) {
		t.Helper()
		c := exec.Command("sh", append([]string{"../../docs/recipes/mistakes/" + script}, args...)...)
		c.Env = append(os.Environ(), env[0], "XDG_CONFIG_HOME="+t.TempDir(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
		c.Stdin = strings.NewReader(input)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for range 2 { // run again, it changes nothing
		if out, err := recipe("", "guard.sh", "prod"); err != nil || strings.Count(out, "prod-") != 8 {
			t.Fatalf("guard.sh: %v\n%s", err, out)
		}
	}
	for _, id := range []string{"a", "b"} {
		do(0, "created", "register", "checkout/"+id, "--address", "10.0.0.5", "--ttl", "1h")
	}
	moment := time.Now().UTC().Format(time.RFC3339Nano)
	do(0, "draining", "drain", "checkout/a", "--reason", "cleanup")
	do(1, "policy prod-half", "deregister", "checkout/b", "--reason", "cleanup")
	do(0, "", "deregister", "checkout/b", "--reason", "cleanup", "--force")

	if out, err := recipe("n\n", "undo.sh", "prod", "checkout", moment, "wrong namespace"); err == nil || !strings.Contains(out, "1 instance:  traffic draining -> serving") || strings.Contains(out, "reverted") {
		t.Errorf("undo.sh without a yes: %v\n%s", err, out)
	}
	do(exitNotFound, "is gone", "get", "instance", "checkout/b")
	if out, err := recipe("y\n", "undo.sh", "prod", "checkout", moment, "wrong namespace"); err != nil || !strings.Contains(out, "2 reverted.") {
		t.Errorf("undo.sh: %v\n%s", err, out)
	}
	do(0, "b", "instances", "checkout", "--ready")
	do(0, "because: wrong namespace", "why", "checkout/b")

	folder := filepath.Join(t.TempDir(), "reports")
	if out, err := recipe("", "report.sh", "prod", folder, moment); err != nil {
		t.Errorf("report.sh: %v\n%s", err, out)
	}
	for file, want := range map[string]string{"checkout.md": "# Report on prod/checkout\n", "checkout.csv": "counts,deregistered,count,1\r\n", "namespace.md": "# Report on prod\n"} {
		if b, err := os.ReadFile(filepath.Join(folder, file)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v\n%s", file, err, b)
		}
	}
}
