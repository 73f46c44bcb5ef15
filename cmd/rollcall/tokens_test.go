package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var secret = regexp.MustCompile(`rollcall_[0-9a-f]{64}`)

// A company uses it: an admin begins through the socket, a team gets two namespaces, a service its own instances, an
// auditor the history; a stolen token is revoked, and the history tells it all.
func TestTheStoryOfAccess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startServer(t, data, "--access", "on")
	ok := func(env []string, args ...string) string {
		t.Helper()
		out, errs, code := run(t, env, args...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	create := func(env []string, where []string, args ...string) []string {
		t.Helper()
		found := secret.FindString(ok(env, append(append([]string{"token", "create"}, args...), where...)...))
		if found == "" {
			t.Fatal("no secret is shown")
		}
		return []string{"ROLLCALL_TOKEN=" + found}
	}
	socket, remote := []string{"--data", data}, []string{"--url", p.url}
	admin := create(nil, socket, "root", "--role", "admin")
	team := create(admin, remote, "platform", "--role", "operator", "--namespace", "shop", "--namespace", "pay")
	checkout := create(admin, remote, "checkout", "--role", "service", "--namespace", "shop", "--service", "checkout")
	audit := create(admin, remote, "audit", "--role", "auditor")
	may := func(env []string, want bool, args ...string) {
		t.Helper()
		if _, errs, code := run(t, env, append(args, remote...)...); (code == 0) != want {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
	register := []string{"register", "shop/checkout/a", "--address", "10.0.0.1"}
	may(nil, false, register...)
	may(audit, false, register...)
	may(checkout, true, register...)
	may(checkout, false, "register", "shop/billing/a", "--address", "10.0.0.1")
	may(checkout, false, "history")
	may(team, true, "register", "pay/billing/a", "--address", "10.0.0.1")
	may(team, false, "register", "other/billing/a", "--address", "10.0.0.1")
	may(team, false, "token", "list")
	may(audit, false, "services", "--ns", "shop")
	may(audit, true, "history")
	ok(admin, append([]string{"token", "revoke", "checkout", "--reason", "stolen"}, remote...)...)
	may(checkout, false, "heartbeat", "shop/checkout/a")
	history := ok(audit, append([]string{"history", "--type", "TokenCreated,TokenRevoked"}, remote...)...)
	for _, want := range []string{"local", "root", "token platform created with operator, namespaces shop pay", "token checkout revoked: stolen"} {
		if !strings.Contains(history, want) {
			t.Errorf("the history does not tell %q:\n%s", want, history)
		}
	}
	export := filepath.Join(t.TempDir(), "events")
	ok(admin, append([]string{"events", "export", export}, remote...)...)
	events, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	if secret.MatchString(history) || secret.Match(events) || !strings.Contains(string(events), "TokenRevoked") {
		t.Error("a secret is told, or the events are not")
	}
	if resp, err := http.Get(p.url + "/v1/services"); err != nil || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %v, %v", resp, err)
	}
}

func TestOthersReachARegistryOnlyWithAccessControl(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"serve", "--listen", "0.0.0.0:0"}, {"serve", "--listen", ":0"}, {"serve", "--listen", "192.0.2.1:0"}, {"serve", "--listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1"}, {"demo", "--listen", "0.0.0.0:0"}} {
		if args[0] == "serve" {
			args = append(args, "--data", t.TempDir())
		}
		if _, errs, code := run(t, nil, args...); code != exitUsage || !strings.Contains(errs, "--insecure") {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
	for _, args := range [][]string{{"--access", "maybe"}, {"--anonymous-role", "reader"}, {"--proxy-protocol"}, {"--limit-requests", "many"}, {"--limit-mib", "-1"}, {"--limit-heartbeats", "NaN"}, {"--access", "on", "--trusted-proxy", "proxy"}, {"--access", "on", "--trusted-proxy", "::1", "--trusted-proxy-header", "x-real-ip"}, {"--access", "on", "--anonymous-role", "nobody"}} {
		if _, errs, code := run(t, nil, append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
}

// Every command reaches a registry on this machine through the socket in its data folder, without a token. Whatever names
// another way goes before ROLLCALL_DATA, as --data goes before what the environment and a context say.
func TestCommandsReachARegistryThroughTheSocketInItsFolder(t *testing.T) {
	t.Parallel()
	data, config := t.TempDir(), t.TempDir()
	p := startServer(t, data, "--access", "on")
	plain := []string{"ROLLCALL_URL=", "ROLLCALL_CONTEXT=", "XDG_CONFIG_HOME=" + config}
	with := func(more ...string) []string { return append(append([]string{}, plain...), more...) }
	inFolder := with("ROLLCALL_DATA=" + data)
	answered := func(env []string, want string, args ...string) {
		t.Helper()
		if out, errs, code := run(t, env, args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v %v: exit code %d: %s%s\nwant %q", env[3:], args, code, out, errs, want)
		}
	}
	refused := func(env []string, code int, want string, args ...string) {
		t.Helper()
		if out, errs, got := run(t, env, args...); got != code || !strings.Contains(errs, want) {
			t.Errorf("%v %v: exit code %d: %s%s\nwant %d, %q", env[3:], args, got, out, errs, code, want)
		}
	}
	answered(inFolder, "the socket in "+data, "status")
	answered(plain, "the socket in "+data, "status", "--data", data)
	answered(inFolder, "created", "register", "web/a", "--address", "10.0.0.5", "--ttl", "1h")
	for _, args := range [][]string{{"services"}, {"instances", "web"}, {"why", "web/a"}, {"history"}, {"preservation", "status"}, {"checkpoint"}, {"get", "namespaces"}, {"token", "list"}} {
		answered(inFolder, "", args...)
		answered(plain, "", append(args, "--data", data)...)
	}
	answered(inFolder, "local", "why", "web/a")
	answered(inFolder, "web", "__completeNoDesc", "instances", "")
	answered(plain, "web/a", "__completeNoDesc", "why", "--data", data, "web/")
	// Whatever names a URL, or a token for one, is meant.
	refused(inFolder, exitFailed, "send Authorization: Bearer", "services", "--url", p.url)
	refused(with("ROLLCALL_DATA="+data, "ROLLCALL_URL="+p.url), exitFailed, "send Authorization: Bearer", "services")
	refused(with("ROLLCALL_DATA="+data, "ROLLCALL_URL="+p.url, "ROLLCALL_TOKEN=rollcall_x"), exitFailed, "send Authorization: Bearer", "services")
	answered(with("ROLLCALL_URL="+p.url), "web", "services", "--data", data)
	answered(inFolder, "added", "context", "add", "remote", "--url", p.url)
	refused(inFolder, exitFailed, "send Authorization: Bearer", "services")
	answered(inFolder, "web", "services", "--data", data)
	answered(inFolder, "removed", "context", "remove", "remote")
	// A folder that was named is meant. One of the environment is one where a registry may run.
	nobody := t.TempDir()
	refused(plain, exitFailed, "no registry runs on the data folder", "services", "--data", nobody)
	for _, other := range []string{"--url", "--token", "--token-file"} {
		refused(plain, exitUsage, "--data and "+other+" do not go together", "services", "--data", data, other, p.url)
	}
	if err := p.end(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	refused(plain, exitFailed, "no registry runs on the data folder", "status", "--data", data)
}

// A role that the file of rules names is in use, as one that a token has.
func TestARoleThatARuleNamesIsNotRemoved(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rules := filepath.Join(folder, "access.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("anonymous: {roles: [guests]}\n")
	data := filepath.Join(folder, "data")
	startServer(t, data, "--access", "on", "--access-config", rules)
	role := func(args ...string) (string, int) {
		t.Helper()
		out, errs, code := run(t, nil, append(append([]string{"role"}, args...), "--data", data)...)
		return out + errs, code
	}
	for _, name := range []string{"guests", "others"} {
		if said, code := role("set", name, "--verb", "read-catalog"); code != 0 {
			t.Fatal(said)
		}
	}
	if said, code := role("remove", "others"); code != 0 {
		t.Errorf("a role that nothing names: %s", said)
	}
	if said, code := role("remove", "guests"); code != exitFailed || !strings.Contains(said, "a rule of --access-config names the role guests") {
		t.Errorf("a role that a rule names: exit code %d: %s", code, said)
	}
	if said, code := role("remove", "nobody"); code != exitNotFound {
		t.Errorf("a role that is not there: exit code %d: %s", code, said)
	}
	write("anonymous: {roles: [reader]}\n") // is read again soon
	eventually(t, "0", func() string { _, code := role("remove", "guests"); return fmt.Sprint(code) })
}

// What says both that callers need a token and that everybody may do everything is refused.
func TestInsecureAndAccessOnContradict(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		if _, errs, code := run(t, nil, "serve", "--data", t.TempDir(), "--listen", listen, "--access", "on", "--insecure"); code != exitUsage || !strings.Contains(errs, "contradict") {
			t.Errorf("%s: exit code %d: %s", listen, code, errs)
		}
	}
}

// A body over the limit is answered with 413, not with a reset, on every port and whatever else is wrong with the request.
func TestABodyOverTheLimitIsAnswered(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := startServer(t, t.TempDir(), "--consul-listen", "127.0.0.1:"+port)
	guarded := startServer(t, t.TempDir(), "--access", "on")
	large := `{"address":"` + strings.Repeat("x", 5<<20) + `"}`
	for _, to := range []struct {
		method, url, body string
		status            int
	}{
		{"PUT", p.url + "/v1/services/web/instances/a", large, 413}, {"POST", p.url + "/v1/commands", "[" + large + "," + large + "]", 413},
		{"POST", p.url + "/v1/heartbeats", "[" + large + "," + large + "]", 413}, {"POST", p.url + "/v1/nothing", large, 404},
		{"PUT", "http://127.0.0.1:" + port + "/v1/agent/service/register", large, 413}, {"PUT", guarded.url + "/v1/services/web/instances/a", large, 401},
	} {
		for _, chunked := range []bool{false, true} {
			r, err := http.NewRequest(to.method, to.url, strings.NewReader(to.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			if chunked {
				r.ContentLength = -1
			}
			reply, err := transport.Do(r)
			if err != nil {
				t.Errorf("%s %s, chunked %v: %v", to.method, to.url, chunked, err)
				continue
			}
			reply.Body.Close()
			if reply.StatusCode != to.status {
				t.Errorf("%s %s, chunked %v: %d, want %d", to.method, to.url, chunked, reply.StatusCode, to.status)
			}
		}
	}
}
