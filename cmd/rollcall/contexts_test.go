package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// asked is a server that notes what it is asked, and answers with a problem.
func asked(t *testing.T) (url string, last func() (namespace, authorization string)) {
	t.Helper()
	var seen *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(`{"type":"` + wire.TypePrefix + `refused","detail":"asked"}`))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (string, string) {
		t.Helper()
		if seen == nil {
			t.Fatal("it was not asked")
		}
		r := seen
		seen = nil
		return r.URL.Query().Get("ns"), r.Header.Get("Authorization")
	}
}

// A flag goes before the environment, the environment before the context, the context before the default.
func TestAContextIsOverriddenByTheEnvironmentAndBothByFlags(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	first, firstAsked := asked(t)
	second, secondAsked := asked(t)
	ask := func(args ...string) {
		t.Helper()
		var refused *wire.Problem
		if out, err := rollcall(args...); !errors.As(err, &refused) || refused.Detail != "asked" {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := rollcall(args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	must("context", "add", "one", "--url", strings.TrimPrefix(first, "http://"), "--ns", "shop", "--token", "rollcall_secret")
	must("context", "add", "two", "--url", second)
	want := func(namespace, authorization string, last func() (string, string)) {
		t.Helper()
		if ns, auth := last(); ns != namespace || auth != authorization {
			t.Errorf("it is asked with namespace %q and %q; want %q and %q", ns, auth, namespace, authorization)
		}
	}
	ask("services")
	want("shop", "Bearer rollcall_secret", firstAsked)
	ask("services", "--context", "two")
	want("default", "", secondAsked)
	ask("services", "--ns", "pay", "--token", "rollcall_other")
	want("pay", "Bearer rollcall_other", firstAsked)
	t.Setenv("ROLLCALL_NS", "env")
	ask("services")
	want("env", "Bearer rollcall_secret", firstAsked)
	ask("services", "--ns", "flag")
	want("flag", "Bearer rollcall_secret", firstAsked)
	t.Setenv("ROLLCALL_CONTEXT", "two")
	ask("services")
	want("env", "", secondAsked)
	t.Setenv("ROLLCALL_CONTEXT", "")
	// The secret of a context goes to no other URL.
	ask("services", "--url", second)
	want("env", "", secondAsked)
	t.Setenv("ROLLCALL_URL", second)
	ask("services")
	want("env", "", secondAsked)
	t.Setenv("ROLLCALL_TOKEN", "rollcall_env")
	ask("services")
	want("env", "Bearer rollcall_env", secondAsked)
	ask("services", "--url", first)
	want("env", "Bearer rollcall_env", firstAsked)
}

func TestContextsAreAddedUsedShownAndRemoved(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", folder)
	must := func(contains string, args ...string) {
		t.Helper()
		if out, err := rollcall(args...); err != nil || !strings.Contains(out, contains) {
			t.Errorf("%v: %v\n%s\nwant %q", args, err, out, contains)
		}
	}
	refused := func(contains string, code int, args ...string) {
		t.Helper()
		if out, err := rollcall(args...); err == nil || exitCode(err) != code || !strings.Contains(err.Error(), contains) {
			t.Errorf("%v: %v\n%s\nwant exit code %d, %q", args, err, out, code, contains)
		}
	}
	refused("no context is in use", exitUsage, "context", "show")
	refused("--url is needed", exitUsage, "context", "add", "prod")
	refused("the name of a context", exitUsage, "context", "add", "a b", "--url", "localhost")
	refused("url must be", exitUsage, "context", "add", "prod", "--url", "ftp://x")
	must("context prod: http://registry.example:7700 added, and in use", "context", "add", "prod", "--url", "registry.example", "--token", "rollcall_secret")
	must("context dev: http://127.0.0.1:7701 added", "context", "add", "dev", "--url", "127.0.0.1:7701")
	must("dev\nprod\n", "context", "list", "-o", "name")
	must("context dev is in use", "context", "use", "dev")
	must(`"current":true`, "context", "show", "-o", "json")
	must("http://registry.example:7700", "context", "show", "prod")
	must("changed", "context", "add", "prod", "--ns", "shop")
	must("shop", "context", "ls")
	out, err := rollcall("context", "list", "-o", "json")
	if err != nil || strings.Contains(out, "rollcall_secret") || !strings.Contains(out, `"has_token":true`) {
		t.Errorf("the list shows a secret, or no token: %v\n%s", err, out)
	}
	path := filepath.Join(folder, "rollcall", "contexts.yaml")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	refused("others may read it", exitFailed, "services")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	must("removed", "context", "remove", "dev")
	refused(`there is no context "dev": there are prod`, exitUsage, "services", "--context", "dev")
	refused("no context is in use", exitUsage, "context", "show")
	if err := os.WriteFile(path, []byte("contexts: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("contexts.yaml", exitFailed, "services")
	if err := os.WriteFile(path, []byte("contexts: maybe\nnobody: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("contexts.yaml: line 1: the value `maybe` is of another kind than belongs there; line 2: field nobody is not known", exitFailed, "services")
	must("rollcall", "version") // what needs no registry does not care
}

func TestARegistryIsNamedAsPeopleNameHosts(t *testing.T) {
	for text, want := range map[string]string{
		"http://a:1": "http://a:1", "https://a/base": "https://a/base", "a": "http://a:7700", "a:80": "http://a:80", "a.example:80/base": "http://a.example:80/base",
		"127.0.0.1": "http://127.0.0.1:7700", "::1": "http://[::1]:7700", "[::1]": "http://[::1]:7700", "[::1]:80": "http://[::1]:80", ":80": "http://127.0.0.1:80", "localhost:7700": "http://localhost:7700",
		"a,b:80, https://c": "http://a:7700,http://b:80,https://c",
	} {
		if got, err := registryURL(text, false); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	if got, err := registryURL("a:7700", true); err != nil || got != "https://a:7700" {
		t.Errorf("with certificates it is %q, %v", got, err)
	}
	for _, text := range []string{"a b", "a:b", "a:", "user@host", "a?x=1", "a:1:2", "a,b:"} {
		if got, err := registryURL(text, false); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}
