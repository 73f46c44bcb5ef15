package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A flag that would have no effect, and two flags of which only one can be meant, are mistakes on the command line. So is what no
// request can carry. Each is told in one line, in words of ours.
func TestFlagsThatSayNothingAreRefused(t *testing.T) {
	t.Setenv("ROLLCALL_URL", "http://127.0.0.1:1") // nobody listens there
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"--tag needs --address":                        {"heartbeat", "checkout/a", "--tag", "x"},
		"--ttl needs --address":                        {"heartbeat", "checkout/a", "--every", "1s", "--ttl", "5s"},
		"--meta needs --address":                       {"heartbeat", "checkout/a", "--meta", "=x"},
		"--address needs --every":                      {"heartbeat", "checkout/a", "--address", "10.0.0.1"},
		"--verifier-key needs --checkpoint":            {"verify", "--verifier-key", "k"},
		"--key needs --checkpoint":                     {"verify", "--key", "k"},
		"--key and --verifier-key do not go together":  {"verify", "--checkpoint", "c", "--key", "k", "--verifier-key", "k"},
		"--check-timeout needs --check":                {"run", "--service", "checkout", "--check-timeout", "1s", "--", "true"},
		"--check-interval needs --check":               {"run", "--service", "checkout", "--check-interval", "1s", "--", "true"},
		"--issuer needs --claims":                      {"access", "check", rules, "--issuer", "x"},
		"--claims and --certificate do not go":         {"access", "check", rules, "--claims", "x", "--certificate", "y"},
		"--resume and --maintenance do not go":         {"drain", "checkout/a", "--resume", "--maintenance"},
		"--token and --token-file do not go":           {"services", "--token", "a", "--token-file", "b"},
		"token must be printable ASCII":                {"services", "--token", "a\nb"},
		"from-token must be printable ASCII":           {"import", "consul", "--from", "http://127.0.0.1:1", "--from-token", "a\nb"},
		"are no certificate in PEM":                    {"services", "--url", "https://127.0.0.1:1", "--cert", rules, "--key", rules},
		"must have a port of at most 65535":            {"services", "--url", "http://127.0.0.1:99999"},
		`"--limit" flag: is too large a number`:        {"history", "--limit", "99999999999999999999"},
		`"--weight" flag: is too large a number`:       {"register", "checkout/a", "--address", "10.0.0.1", "--weight", "65536"},
		`"--weight" flag: must not be negative`:        {"register", "checkout/a", "--address", "10.0.0.1", "--weight", "-1"},
		`"--port" flag: is too large a number`:         {"register", "checkout/a", "--address", "10.0.0.1", "--port", "a=99999999999999999999"},
		`"--max-silence" flag: is too large a number`:  {"instances", "checkout", "--max-silence", "1e400"},
		`"--force" flag: must be true or false`:        {"drain", "checkout/a", "--force=no"},
		`"--no-headers" flag: must be true or false`:   {"services", "--no-headers=x"},
		`"--every" flag: must be a duration such as`:   {"heartbeat", "checkout/a", "--every", "99999999h"},
		`"--drain" flag: must be a duration such as "`: {"run", "--service", "checkout", "--drain", "5", "--", "true"},
		`"-h, --help" flag: must be true or false`:     {"services", "--help=maybe"},
		`"-v, --version" flag: must be true or false`:  {"--version=maybe"},
		`"--tag" flag: must be one line, with commas`:  {"register", "checkout/a", "--address", "10.0.0.1", "--tag", "a\nb"},
		`"--type" flag: must be one line`:              {"history", "--type", "a\nb"},
		`"--type" flag: must have its quotes around`:   {"history", "--type", `a,"b`},
		`"--meta" flag: must be one line`:              {"instances", "checkout", "--meta", "a=1\nb=2"},
	} {
		err := runHere(t, args...)
		if err == nil || exitCode(err) != exitUsage || !strings.Contains(errorLine(err), want) {
			t.Errorf("%q gave %v, not %q", args, err, want)
		}
	}
}

// A variable goes with the flag that it stands for: a token's file on the command line is taken in place of ROLLCALL_TOKEN.
func TestAFlagOfTheTokenGoesBeforeTheEnvironment(t *testing.T) {
	t.Setenv("ROLLCALL_URL", "http://127.0.0.1:1")
	t.Setenv("ROLLCALL_TOKEN", "from the environment") // no token: it would be refused
	file := filepath.Join(t.TempDir(), "token")
	for content, want := range map[string]string{"secret\n": "no answer from", "a\nb\n": "must have one token, of printable ASCII", " \n": "is empty"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := runHere(t, "services", "--token-file", file); err == nil || exitCode(err) != exitFailed || !strings.Contains(err.Error(), want) {
			t.Errorf("with the file %q: %v, want %q", content, err, want)
		}
	}
	if err := runHere(t, "services"); err == nil || exitCode(err) != exitUsage {
		t.Errorf("with a variable that is no token: %v", err)
	}
}

// A registry of another version may leave out what this one always tells.
func TestAStatusOfAnotherVersionIsShown(t *testing.T) {
	answer := ""
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Rollcall-Position", "5")
		_, _ = io.WriteString(w, answer)
	}))
	defer registry.Close()
	t.Setenv("ROLLCALL_URL", registry.URL)
	show := func(args ...string) (string, error) {
		var out strings.Builder
		c := root()
		c.SetArgs(args)
		c.SetOut(&out)
		c.SetErr(t.Output())
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	answer = `{"version":"9","listening":{"able":false},"probes":{"holding":true},"new":{"x":[]}}`
	if out, err := show("status"); err != nil || !strings.Contains(out, "cannot be taken since a time that it does not tell") {
		t.Errorf("%v\n%s", err, out)
	}
	answer = `{"entries":[],"next":"x"}`
	if out, err := show("why", "checkout/a"); err == nil || !strings.Contains(err.Error(), "nothing to tell of instance default/checkout/a") {
		t.Errorf("%v\n%s", err, out)
	}
	answer = `null`
	for _, args := range [][]string{{"verify"}, {"services"}, {"status"}, {"history"}, {"why", "checkout/a"}, {"checkpoint"}, {"cluster", "status"}} {
		if out, err := show(args...); err == nil || !strings.Contains(err.Error(), "is not a Rollcall server") || out != "" {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
