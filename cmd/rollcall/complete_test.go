package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// completed is what a shell is told for a command line, and how it goes on.
func completed(t *testing.T, args ...string) (values []string, directive cobra.ShellCompDirective) {
	t.Helper()
	out, err := rollcall(append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Completion ended"): // to standard error, which shells do not read
		case strings.HasPrefix(line, ":"):
			fmt.Sscanf(line, ":%d", &directive)
		case line != "":
			values = append(values, line)
		}
	}
	return values, directive
}

// completing is a registry that has names to complete with.
func completing(t *testing.T) (url string, asked func() *http.Request) {
	t.Helper()
	var last *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r
		w.Header().Set("Rollcall-Position", "7")
		body, ok := map[string]string{
			"/v1/namespaces":         `{"namespaces":[{"namespace":"default"},{"namespace":"shop"}]}`,
			"/v1/services":           `{"services":[{"service":"checkout"},{"service":"cart"},{"service":"db"}]}`,
			"/v1/services/checkout":  `{"service":"checkout"}`,
			"/v1/services/db/checks": `{"instances":[{"id":"a-1","checks":[{"id":"worker","kind":"ttl"},{"id":"http","kind":"http"}]}]}`,
			"/v1/webhooks":           `{"webhooks":[{"id":"wh_1"}]}`,
			"/v1/access/roles":       `{"roles":[{"name":"reader"},{"name":"mine"}]}`,
			"/v1/access/tokens":      `{"tokens":[{"name":"ci"}]}`,
			"/v1/cluster":            `{"node":"n1","members":[{"id":"n1"},{"id":"n2"}]}`,
			"/v1/policies":           `{"policies":[{"name":"keep"}]}`,
		}[r.URL.Path]
		if strings.HasSuffix(r.URL.Path, "/instances") {
			body, ok = `{"instances":[{"id":"a-1"},{"id":"a-2"},{"id":"b"}]}`, true
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() *http.Request { return last }
}

func TestShellsCompleteWhatTheRegistryHas(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	url, _ := completing(t)
	for line, want := range map[string]string{
		"instances ": "checkout cart db", "instances c": "checkout cart", "instances checkout ": "", "describe service d": "db", "watch ca": "cart",
		"why c": "checkout/ cart/", "why checkout/": "checkout/a-1 checkout/a-2 checkout/b", "why checkout/a": "checkout/a-1 checkout/a-2", "get instance db/b": "db/b",
		"drain checkout/b": "checkout/b", "history c": "checkout/ cart/",
		"checks c": "checkout/ cart/", "checks checkout/a": "checkout/a-1 checkout/a-2", "checks db --status ": "starting passing warning critical",
		"check pass db/a-1 ": "worker", "check fail db/a-1 w": "worker", "check warn db/a-1 h": "", "check remove db/a-1 ": "worker http", "check add db/a-1 ": "",
		"check ": "add fail pass remove warn", "check pass db/a": "db/a-1 db/a-2", "check pass db/a-1 worker ": "",
		"get namespaces ": "default shop", "services --ns s": "shop", "services --ns ": "default shop *", "token create ci --namespace s": "shop",
		"health checkout/b ": "starting passing warning critical", "health checkout/b w": "warning",
		"webhooks pause ": "wh_1", "role remove ": "reader mine", "token revoke ": "ci", "token create x --role m": "mine", "token create x --role reader,m": "reader,mine",
		"policy show ": "keep", "policy remove k": "keep", "revert --service checkout --instance b": "b", "revert --kinds tr": "traffic",
		"run --service c": "checkout cart", "run --restart ": "no on-failure always", "agent --watch c": "checkout cart", "agent /etc --watch cart,d": "cart,db",
		"events tail --type LeaseE": "LeaseExpired", "history --via cli": "cli", "cluster remove ": "n1 n2", "cluster transfer n2": "n2", "services -o j": "json", "serve --access o": "on off", "serve --probes of": "off",
		"rebuild --only c": "catalog", "diff --from y": "yesterday", "undrain checkout/b": "checkout/b", "register checkout/b --zone ": "",
		"serve --anonymous-role r": "reader",
	} {
		args := append([]string{"--url", url}, strings.Split(line, " ")...)
		got, directive := completed(t, args...)
		slices.Sort(got)
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) || directive&cobra.ShellCompDirectiveNoFileComp == 0 {
			t.Errorf("%q is completed with %v (%d), want %v", line, got, directive, wanted)
		}
	}
}

// Files are completed by the shell: rollcall says nothing and lets it.
func TestShellsCompleteFilesThemselves(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, args := range [][]string{
		{"agent", ""}, {"agent", "one", ""}, {"agent", "one", "two", "/et"}, {"restore", ""}, {"events", "export", ""}, {"access", "check", ""},
		{"run", "--service", "web", "--", ""}, {"run", "--service", "web", "--", "./server", ""}, {"services", "--ca", ""}, {"services", "--data", ""}, {"serve", "--tls-cert", ""},
	} {
		if values, directive := completed(t, args...); len(values) > 0 || directive != cobra.ShellCompDirectiveDefault {
			t.Errorf("%q is completed with %v (%d)", args, values, directive)
		}
	}
}

// A shell that completes gets names, or nothing: no error, no word, and not for ever.
func TestCompletionIsSilentWhereTheRegistryDoesNotAnswer(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	held := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(held)
	swallows, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and nobody reads them
	if err != nil {
		t.Fatal(err)
	}
	defer swallows.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"type":"urn:rollcall:problem:forbidden","detail":"no"}`))
	}))
	defer refuses.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) }))
	defer other.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	lines := [][]string{{"instances", ""}, {"check", "pass", "web/a", ""}, {"why", "web/"}, {"get", "namespaces", ""}, {"webhooks", "pause", ""}, {"token", "revoke", ""}}
	for name, url := range map[string]string{
		"silent": silent.URL, "swallows": "http://" + swallows.Addr().String(), "refuses": refuses.URL, "another server": other.URL, "closed": closed.URL, "no url": "::x y",
	} {
		began := time.Now()
		asked := lines
		if name == "silent" || name == "swallows" {
			asked = lines[:2] // each takes the whole time
		}
		for _, line := range asked {
			if values, _ := completed(t, append([]string{"--url", url}, line...)...); len(values) > 0 {
				t.Errorf("%s: %v is completed with %v", name, line, values)
			}
		}
		if took := time.Since(began); took > time.Minute { // 0.7 s each, on a machine that is busy
			t.Errorf("%s: it took %v", name, took)
		}
	}
	for name, value := range map[string]string{"ROLLCALL_URL": "::x y", "ROLLCALL_CONTEXT": "nowhere", "ROLLCALL_TOKEN_FILE": "/nowhere", "ROLLCALL_CA": "/nowhere"} {
		t.Setenv(name, value)
		if values, _ := completed(t, "instances", ""); len(values) > 0 {
			t.Errorf("with %s=%s it is completed with %v", name, value, values)
		}
		if _, err := rollcall("completion", "bash"); err != nil {
			t.Errorf("with %s=%s there is no script: %v", name, value, err)
		}
		t.Setenv(name, "")
	}
}

// What is typed counts as it will when the line is run: the registry of --url is asked, in the namespace of --ns, and the
// secret of a context goes to no other URL.
func TestCompletionAsksAsTheCommandWould(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	first, firstAsked := completing(t)
	second, secondAsked := completing(t)
	if out, err := rollcall("context", "add", "one", "--url", first, "--ns", "shop", "--token", "rollcall_secret"); err != nil {
		t.Fatal(err, out)
	}
	completed(t, "instances", "")
	if r := firstAsked(); r == nil || r.URL.Query().Get("ns") != "shop" || r.Header.Get("Authorization") != "Bearer rollcall_secret" {
		t.Errorf("the context's registry was asked %+v", r)
	}
	for _, url := range []string{second, strings.TrimPrefix(second, "http://")} {
		completed(t, "instances", "--url", url, "--ns", "pay", "")
		if r := secondAsked(); r == nil || r.URL.Query().Get("ns") != "pay" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s was asked %+v", url, r)
		}
	}
}

// freeWords are arguments of which no list can be had.
var freeWords = map[string]string{
	"URL": "an address that the user chooses", "create NAME": "a new name", "add NAME": "a new name", "set NAME": "a new name, or one that exists",
	"check add CHECK": "a definition", "NODE=ADDRESS": "a new node", "[ARGUMENT...]": "of another program",
}

// Every argument of every command has a completion. A new kind of argument must be given one, or be told here.
func TestEveryArgumentHasACompletion(t *testing.T) {
	for _, c := range leaves(root()) {
		use := strings.Fields(c.Use)[1:]
		for n, word := range use {
			if strings.HasPrefix(word, "-") || strings.HasPrefix(word, "[-") || strings.HasSuffix(word, "]") && !strings.HasPrefix(word, "[") || n > 0 && strings.HasPrefix(use[n-1], "-") || n > 0 && strings.HasPrefix(use[n-1], "[-") {
				continue // flags, and their values
			}
			if freeWords[word] != "" || freeWords[c.Name()+" "+word] != "" || freeWords[pathOf(c)+" "+word] != "" || strings.Contains(word, "|") && !slices.Contains(fileWords, word) {
				continue
			}
			if c.Name() == "run" || slices.Contains(fileWords, word) || strings.HasPrefix(pathOf(c), "context ") {
				continue
			}
			if kindsOf(c.CommandPath())[word] == nil {
				t.Errorf("%s: nothing completes %s", pathOf(c), word)
			}
		}
	}
}
