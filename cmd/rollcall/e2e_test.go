package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary builds the real binary once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall-test-")
	if err != nil {
		return "", err
	}
	return buildBinary(dir)
})

// buildBinary builds the binary into a folder.
func buildBinary(dir string, flags ...string) (path string, err error) {
	path = filepath.Join(dir, "rollcall")
	out, err := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

func TestMain(m *testing.M) {
	if registry, id, ok := strings.Cut(os.Getenv(shopEnv), " "); ok {
		if err := serveShop(registry, id); err != nil {
			fmt.Fprintln(os.Stderr, "instance", id, err)
			os.Exit(1)
		}
		return
	}
	if crowd, ok := os.LookupEnv(crowdEnv); ok {
		if err := serveCrowd(crowd); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	nowhere, err := os.MkdirTemp("", "rollcall-config-") // the contexts of whoever runs the tests are not for the tests
	if err == nil {
		err = os.Setenv("XDG_CONFIG_HOME", nowhere)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(nowhere)
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running server.
type process struct {
	*exec.Cmd
	t    testing.TB
	url  string
	logs *lockedBuffer
	done chan error
}

// startServer runs `rollcall serve` on a folder and a free port, and waits until it is ready.
func startServer(t testing.TB, data string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data, "--log-format", "json"}, args...)...))
}

// startCommand starts a command that becomes a server.
func startCommand(t testing.TB, c *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: c, t: t, logs: &lockedBuffer{}, done: make(chan error, 1)}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var entry struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
				ready <- entry.URL
			}
			p.logs.Write(append(lines.Bytes(), '\n'))
		}
		p.done <- p.Wait()
	}()
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			<-p.done
		}
	})
	select {
	case p.url = <-ready:
	case err := <-p.done:
		t.Fatalf("the server ended at its start: %v\n%s", err, p.logs)
	case <-time.After(2 * time.Minute):
		_ = p.Process.Signal(syscall.SIGQUIT) // it tells what it waits for
		<-p.done
		t.Fatalf("the server did not get ready\n%s", p.logs)
	}
	return p
}

func (p *process) end(signal os.Signal) error {
	if err := p.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		return err
	case <-time.After(30 * time.Second):
		_ = p.Process.Signal(syscall.SIGQUIT) // it tells what it waits for
		<-p.done
		p.t.Fatalf("the server did not end\n%s", p.logs)
		return nil
	}
}

var transport = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}

// send returns the status and the body, or an error if there was no whole reply.
func (p *process) send(method, path, body string) (int, []byte, error) {
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := transport.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func (p *process) instances(service string) map[string]instance {
	p.t.Helper()
	status, body, err := p.send("GET", "/v1/services/"+service+"/instances", "")
	var list struct{ Instances []instance }
	if err != nil || status != 200 || json.Unmarshal(body, &list) != nil {
		p.t.Fatalf("list: %d, %v, %s", status, err, body)
	}
	byID := map[string]instance{}
	for _, i := range list.Instances {
		byID[i.ID] = i
	}
	return byID
}

type instance struct {
	ID, Version string
	Epoch       uint64
	Revision    uint64
}

// TestKillLosesNothingAcknowledged registers 1,000 instances from 32 clients, keeps them alive, and
// kills the server while they go on writing. After the restart every acknowledged command is there,
// none that was refused is, no lease has lapsed, and those that fall silent then do in time.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	const clients, fleet, ttl = 32, 1000, 4 * time.Second
	data := t.TempDir()
	p := startServer(t, data)
	body := func(version int) string {
		return fmt.Sprintf(`{"address":"10.0.0.5","ports":{"http":8080},"ttl":"%s","version":"%d"}`, ttl, version)
	}
	path := func(i int) string { return fmt.Sprintf("/v1/services/fleet/instances/i%d", i) }

	// What each instance's own client knows: nobody else writes to it.
	type known struct {
		acked   int  // newest version acknowledged
		tried   int  // newest version sent
		gone    bool // a deregistration was acknowledged
		leaving bool // a deregistration was sent
	}
	var states [fleet]known
	each := func(do func(client, i int)) {
		var group sync.WaitGroup
		for client := range clients {
			group.Go(func() {
				for i := client; i < fleet; i += clients {
					do(client, i)
				}
			})
		}
		group.Wait()
	}
	each(func(_, i int) {
		if status, b, err := p.send("PUT", path(i), body(1)); err != nil || status != 201 {
			t.Errorf("register: %d, %v, %s", status, err, b)
		}
		states[i].acked, states[i].tried = 1, 1
		if status, b, err := p.send("PUT", fmt.Sprintf("/v1/services/fleet/instances/refused%d", i), `{"address":"10.0.0.5","ttl":"1h1s","weight":-1}`); err != nil || status != 422 {
			t.Errorf("a bad registration: %d, %v, %s", status, err, b)
		}
	})
	var dead atomic.Bool
	var writing sync.WaitGroup
	for client := range clients {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(client), 7))
			for !dead.Load() {
				i := rng.IntN(fleet/clients)*clients + client
				if i >= fleet || states[i].leaving {
					continue
				}
				s := &states[i]
				switch rng.IntN(20) {
				case 0:
					s.leaving = true
					status, _, err := p.send("DELETE", path(i)+"?reason=test", "")
					s.gone = err == nil && status == 200
				case 1, 2, 3, 4:
					s.tried++
					if status, _, err := p.send("PUT", path(i), body(s.tried)); err == nil && status == 200 {
						s.acked = s.tried
					}
				default:
					_, _, _ = p.send("PUT", path(i)+"/heartbeat", "")
				}
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	_ = p.end(syscall.SIGKILL)
	dead.Store(true)
	writing.Wait()

	time.Sleep(ttl + time.Second) // longer than any lease
	p = startServer(t, data)
	restarted := time.Now()
	found := p.instances("fleet")
	live := map[int]bool{}
	for i, s := range states {
		got, there := found[fmt.Sprintf("i%d", i)]
		var version int
		_, _ = fmt.Sscan(got.Version, &version)
		switch {
		case s.gone && there:
			t.Errorf("i%d is there, but its deregistration was acknowledged", i)
		case !s.leaving && !there:
			t.Errorf("i%d is not there", i)
		case there && (version < s.acked || version > s.tried):
			t.Errorf("i%d has version %d; %d was acknowledged, %d tried", i, version, s.acked, s.tried)
		case there && got.Revision != uint64(version-1):
			t.Errorf("i%d has version %d at revision %d: an update is missing or there twice", i, version, got.Revision)
		}
		if there {
			live[i] = true
		}
	}
	for id := range found {
		if strings.HasPrefix(id, "refused") {
			t.Errorf("%s is there, but it was refused", id)
		}
	}
	// All but a few go on. Those few lapse, and none of the others.
	renew := func() {
		each(func(_, i int) {
			if live[i] && i%25 != 0 {
				if status, b, err := p.send("PUT", path(i)+"/heartbeat", ""); err != nil || status != 200 {
					t.Errorf("i%d could not renew %s after the restart: %d, %v, %s", i, time.Since(restarted), status, err, b)
				}
			}
		})
	}
	for time.Since(restarted) < ttl-time.Second {
		renew()
		time.Sleep(300 * time.Millisecond)
	}
	if got := len(p.instances("fleet")); got != len(live) {
		t.Errorf("%d instances are left before any ttl is over, want %d", got, len(live))
	}
	for time.Since(restarted) < ttl+time.Second {
		renew()
		time.Sleep(100 * time.Millisecond)
	}
	after := p.instances("fleet")
	for i := range live {
		if _, there := after[fmt.Sprintf("i%d", i)]; there != (i%25 != 0) {
			t.Errorf("i%d is in the catalog: %v, one second after the ttl", i, there)
		}
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the server ended with %v\n%s", err, p.logs)
	}
}

func run(t testing.TB, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func TestTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	env := []string{"ROLLCALL_URL=" + p.url}
	for _, c := range []struct {
		args string
		code int
		want string // in the output, or in the one line of an error
	}{
		{"register checkout/a-1 --address 10.0.0.5 --port http=8080 --tag canary --meta team=shop --ttl 1m", 0, "default/checkout/a-1 created (epoch 1, revision 0"},
		{"register shop/cart/a-1 --address cart.example.com -o json", 0, `"namespace":"shop"`},
		{"register checkout/a-2 --address 10.0.0.300", 2, "address must be an IP address"},
		{"register checkout/a-2 --address ::1 --port http=70000", 2, "port http must be 1-65535"},
		{"register checkout/a-2", 2, "--address is needed"},
		{"heartbeat checkout/a-1", 0, "renewed"},
		{"heartbeat checkout/nobody", 3, "not registered"},
		{"heartbeat nonsense", 2, "namespace/service/id"},
		{"health checkout/a-1 warning --note slow", 0, "is warning"},
		{"drain checkout/a-1 --reason deploy", 0, "is draining"},
		{"instances checkout", 0, "a-1  10.0.0.5  http=8080  warning  draining"},
		{"instances checkout --ready", 0, "ADDRESS"},
		{"drain checkout/a-1 --resume", 0, "is serving"},
		{"instances checkout --ready --tag canary --meta team=shop -o json", 0, `"instances":[{"namespace":"default"`},
		{"services --ns *", 0, "shop       cart      1"},
		{"services -o xml", 2, "output must be table, wide, json, yaml, name, csv or markdown"},
		{"deregister checkout/a-1 --reason done", 0, "deregistered"},
		{"deregister checkout/a-1", 3, "was deregistered"},
		{"register checkout/o-1 --address 10.0.0.5 --owner old --create-only", 0, "epoch 1, revision 0"},
		{"register checkout/o-1 --address 10.0.0.5 --create-only", 1, "is registered already, in epoch 1"},
		{"health checkout/o-1 critical --owner old", 0, "is critical"},
		{"register checkout/o-1 --address 10.0.0.5", 0, "epoch 1, revision 1"},
		{"drain checkout/o-1 --maintenance --reason disk --epoch 1", 0, "is maintenance"},
		{"register checkout/o-1 --address 10.0.0.5 --owner new", 0, "epoch 2, revision 3"},
		{"heartbeat checkout/o-1 --epoch 1", 1, "epoch 1 of instance default/checkout/o-1 is not the live one, 2"},
		{"undrain checkout/o-1 --owner old", 1, "was registered by"},
		{"deregister checkout/o-1 --owner old", 1, "was registered by"},
		{"deregister checkout/o-1 --owner=", 2, "--owner must not be empty"},
		{"deregister checkout/o-1 --epoch 0", 2, "--epoch must be at least 1"},
		{"deregister checkout/o-1 --owner new --epoch 2", 0, "deregistered"},
		{"undrain checkout/o-1 --reason mended", 0, "is serving"},
		{"why checkout/o-1", 0, "it was deregistered"},
		{"history checkout/o-1", 0, "registered again, for the 2nd time at 10.0.0.5, passing, ttl 30 s, by owner new, in place of epoch 1; still in maintenance, by anonymous since"},
		{"services --url http://127.0.0.1:1", 1, "no answer"},
		{"version", 0, "rollcall "},
		{"completion bash", 0, "bash completion"},
		{"completion nonsense", 2, `rollcall completion has no command "nonsense"`},
		{"help", 0, "Rollcall keeps every registration"},
		{"help policy set", 0, "rollcall policy set"},
		{"help nonsense", 2, `rollcall has no command "nonsense"`},
		{"help policy nonsense", 2, `rollcall policy has no command "nonsense"`},
		{"rebuild --data /nonexistent", 1, "/nonexistent is not a data folder"},
		{"verify --data /nonexistent", 1, "/nonexistent is not a data folder"},
		{"store stats --data /nonexistent", 1, "/nonexistent is not a data folder"},
		{"register checkout/p-1 --address 10.0.0.5 --port http=1,http=2", 2, "http is given twice"},
		{"register checkout/p-1 --address 10.0.0.5 --meta team=a --meta team=b", 2, "team is given twice"},
		{"nonsense", 2, `rollcall has no command "nonsense"`},
		{"serve --nonsense", 2, "has no flag --nonsense"},
		{"serve --store redis://x", 2, "store must be"},
		{"serve --config /nonexistent.yaml", 2, "no such file"},
	} {
		out, errs, code := run(t, env, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) || code != 0 && strings.Count(errs, "\n") != 1 {
			t.Errorf("rollcall %s: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}

func TestASecondServerOnTheFolderIsRefused(t *testing.T) {
	data := t.TempDir()
	startServer(t, data)
	_, errs, code := run(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", data)
	if code != 1 || !strings.Contains(errs, "in use by another rollcall process") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestSettingsComeFromFlagsThenEnvironmentThenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	for content, want := range map[string]string{
		"log-level: nonsense\n":            "log-level must be",
		"log-format: 5\n":                  "log-format must be",
		"log-levle: info\n":                `rollcall.yaml:1: there is no setting "log-levle"`,
		"listen: [a]\n":                    "listen must be a single value",
		"heartbeat-retention: soon\n":      "must be a duration",
		"min-free-mib: 0\n":                "min-free-mib must be at least 1",
		": :\n- broken":                    "yaml",
		"store: redis\nlog-level: debug\n": "store must be",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs, code := run(t, []string{"ROLLCALL_DATA=" + t.TempDir()}, "serve", "--config", file, "--listen", "127.0.0.1:0")
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%q: exit code %d, %s; want %q", content, code, errs, want)
		}
	}
	if err := os.WriteFile(file, []byte("log-level: from-file\nlog-format: from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"ROLLCALL_LOG_LEVEL=from-environment", "ROLLCALL_LOG_FORMAT=json", "ROLLCALL_CONFIG=" + file}
	if _, errs, _ := run(t, env, "serve"); !strings.Contains(errs, `"from-environment"`) {
		t.Errorf("the environment does not go before the file: %s", errs)
	}
	if _, errs, _ := run(t, env, "serve", "--log-level", "from-flag"); !strings.Contains(errs, `"from-flag"`) {
		t.Errorf("the flag does not go before the environment: %s", errs)
	}
}
