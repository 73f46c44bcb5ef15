package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// target is a server on a loopback address whose behaviour a test changes.
type target struct {
	url string
	mu  sync.Mutex
	do  http.HandlerFunc
}

func answersWith(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func newTarget(t testing.TB) *target {
	x := &target{do: answersWith(200)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		do := x.do
		x.mu.Unlock()
		do(w, r)
	}))
	t.Cleanup(s.Close)
	x.url = s.URL
	return x
}

func (x *target) set(do http.HandlerFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.do = do
}

// taken answers with bytes of its own instead of HTTP.
func taken(bytes string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, bytes)
			_ = c.Close()
		}
	}
}

func sleeps(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(d):
		}
	}
}

// checked registers an instance with one check, given as fields of JSON.
func (p *process) checked(id, check string) {
	p.t.Helper()
	body := fmt.Sprintf(`{"address":"127.0.0.1","ttl":"none","checks":[{"id":"it","interval":"1s","timeout":"300ms",%s}]}`, check)
	if status, b, err := p.send("PUT", "/v1/services/probed/instances/"+id, body); err != nil || status != 201 {
		p.t.Fatalf("%s: %d %s %v", id, status, b, err)
	}
}

// check is what the registry shows of an instance's check.
func (p *process) check(id string) wire.Check {
	p.t.Helper()
	_, b, err := p.send("GET", "/v1/services/probed/instances/"+id, "")
	var i wire.Instance
	if err != nil || json.Unmarshal(b, &i) != nil || len(i.Checks) != 1 {
		p.t.Fatalf("%s: %s %v", id, b, err)
	}
	return i.Checks[0]
}

// becomes waits until a check has a status.
func (p *process) becomes(id, status string) wire.Check {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		c := p.check(id)
		if string(c.Status) == status {
			return c
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %s, not %s: %s\n%s", id, c.Status, status, c.Output, p.logs)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// told are the lines of an instance's history that tell of its check, oldest first.
func (p *process) told(id string) (lines []string) {
	p.t.Helper()
	out, errs, code := run(p.t, []string{"ROLLCALL_URL=" + p.url}, "history", "probed/"+id, "-o", "json")
	if code != 0 {
		p.t.Fatal(errs)
	}
	var page wire.HistoryPage
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&page); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	for _, e := range page.Entries {
		if e.Type == "CheckChanged" {
			lines = append([]string{e.Summary}, lines...)
		}
	}
	return lines
}

func TestChecksTellWhatTheirTargetsDid(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startServer(t, data, "--node-name", "n1")
	wrong := httptest.NewTLSServer(answersWith(200))
	t.Cleanup(wrong.Close)
	state := health.NewServer()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, state)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	state.SetServingStatus("checkout", healthpb.HealthCheckResponse_SERVING)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := port.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()

	type change struct {
		turns  func()
		status string
		words  string // that the line of the history has
	}
	cases := map[string]struct {
		check   string
		first   string // status
		changes []change
	}{}
	over := func(id string, do http.HandlerFunc, words string) {
		x := newTarget(t)
		cases[id] = struct {
			check   string
			first   string
			changes []change
		}{fmt.Sprintf(`"kind":"http","url":%q`, x.url+"/health"), "passing", []change{
			{func() { x.set(do) }, "critical", words},
			{func() { x.set(answersWith(204)) }, "passing", "check it went passing: GET /health answered 204 after "},
		}}
	}
	over("turns-500", answersWith(500), "check it went critical: GET /health answered 500 after ")
	over("slow", sleeps(5*time.Second), "check it went critical: GET /health got no answer within 300 ms, seen by node n1")
	over("closes", taken(""), "the connection was closed without a whole answer, seen by node n1")
	over("garbage", taken("\x00\x01 what is this\r\n\r\n"), "check it went critical: GET /health failed after ")
	over("redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "GET /health answered 302 after ")
	cases["certificate"] = struct {
		check   string
		first   string
		changes []change
	}{fmt.Sprintf(`"kind":"http","url":%q`, wrong.URL), "critical", nil}
	cases["grpc"] = struct {
		check   string
		first   string
		changes []change
	}{fmt.Sprintf(`"kind":"grpc","target":%q,"grpc_service":"checkout"`, listener.Addr()), "passing", []change{
		{func() { state.SetServingStatus("checkout", healthpb.HealthCheckResponse_NOT_SERVING) }, "critical", "answered NOT_SERVING after "},
		{func() { state.SetServingStatus("checkout", healthpb.HealthCheckResponse_SERVING) }, "passing", "answered SERVING after "},
	}}
	cases["tcp"] = struct {
		check   string
		first   string
		changes []change
	}{fmt.Sprintf(`"kind":"tcp","target":%q`, port.Addr()), "passing", []change{
		{func() { _ = port.Close() }, "critical", "connection refused, seen by node n1"},
	}}
	for id, c := range cases {
		p.checked(id, c.check)
	}
	for id, c := range cases {
		if got := p.becomes(id, c.first); got.By != "n1" || got.LookedBy != "n1" || got.NextLook == nil && c.first == "passing" && p.check(id).NextLook == nil {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if got := p.check("certificate").Output; !strings.Contains(got, "the certificate is signed by an unknown authority") {
		t.Errorf("the wrong certificate: %q", got)
	}
	for id, c := range cases {
		if len(c.changes) > 0 {
			c.changes[0].turns()
			p.becomes(id, c.changes[0].status)
		}
	}

	// The registry is killed, the targets change meanwhile, and what was known stays known.
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Fatal("the server was not killed")
	}
	for _, c := range cases {
		if len(c.changes) > 1 {
			c.changes[1].turns()
		}
	}
	p = startServer(t, data, "--node-name", "n1")
	for id, c := range cases {
		if len(c.changes) > 1 {
			p.becomes(id, c.changes[1].status)
		} else if got := p.check(id); got.Status != "critical" {
			t.Errorf("after the kill %s is %s", id, got.Status)
		}
	}
	for id, c := range cases {
		lines := p.told(id)
		if len(lines) != 1+len(c.changes) {
			t.Errorf("%s: %q", id, lines)
			continue
		}
		for i, change := range c.changes {
			if !strings.Contains(lines[1+i], change.words) || !strings.Contains(lines[1+i], "seen by node n1") {
				t.Errorf("%s: %q, want %q", id, lines[1+i], change.words)
			}
		}
	}
	out, _, _ := run(t, []string{"ROLLCALL_URL=" + p.url}, "why", "probed/tcp")
	if !strings.Contains(out, "connection refused, seen by node n1") {
		t.Errorf("why says %s", out)
	}
}

func TestChecksOfForbiddenTargetsAreRefused(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir(), "--probes", "off", "--probe-allow", "10.1.0.0/16")
	for _, c := range []struct {
		address, check string
		field          string // "": it is taken
	}{
		{"10.0.0.5", `"kind":"http","url":"http://10.0.0.5:8080/"`, ""},
		{"10.0.0.5", `"kind":"http","url":"http://10.1.2.3:8080/"`, ""},
		{"10.0.0.5", `"kind":"http","url":"http://10.0.0.6:8080/"`, "checks[0].url"},
		{"169.254.169.254", `"kind":"http","url":"http://169.254.169.254/latest"`, "checks[0].url"},
		{"10.0.0.5", `"kind":"http","url":"http://[::ffff:169.254.169.254]/latest"`, "checks[0].url"},
		{"10.0.0.5", `"kind":"tcp","target":"127.0.0.1:22"`, "checks[0].target"},
		{"10.0.0.5", `"kind":"grpc","target":"100.100.100.200:80"`, "checks[0].target"},
	} {
		body := fmt.Sprintf(`{"address":%q,"ttl":"none","checks":[{"id":"it","interval":"1h",%s}]}`, c.address, c.check)
		status, b, err := p.send("PUT", "/v1/services/probed/instances/a?", body)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct{ Field string }
		_ = json.Unmarshal(b, &problem)
		if c.field == "" && status >= 300 || c.field != "" && (status != 422 || problem.Field != c.field) {
			t.Errorf("%s of %s: %d %s", c.check, c.address, status, b)
		}
	}
	// Only the registry writes into its own namespace.
	status, b, err := p.send("PUT", "/v1/services/prober/instances/n9?ns=rollcall-system", `{"address":"10.0.0.5"}`)
	if err != nil || status != 422 || !strings.Contains(string(b), `"namespace"`) {
		t.Errorf("%d %s %v", status, b, err)
	}
	for _, args := range [][]string{{"--probes", "maybe"}, {"--probe-allow", "10.0.0.1"}, {"--probe-concurrency", "-1"}, {"--probe-concurrency", "0"}, {"--probe-concurrency", "65537"}, {"--webhook-pause-after", "0"}, {"--webhook-pause-after", "-1s"}, {"--node-name", "a b"}, {"--probe-ca", "/nowhere"}} {
		if _, errs, code := run(t, nil, append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, args...)...); code != 2 || !strings.Contains(errs, args[0][2:]) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

// Most targets are silent at once: the node may be cut off, and says so instead of turning the fleet critical.
func TestANodeHoldsBackWhenMostTargetsAreSilent(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir(), "--node-name", "n1")
	var silent atomic.Bool
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if silent.Load() {
						_, _ = io.Copy(io.Discard, c)
						return
					}
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	const fleet = 20
	for n := range fleet {
		p.checked(fmt.Sprint("i", n), fmt.Sprintf(`"kind":"http","url":"http://%s/%d"`, listener.Addr(), n))
	}
	for n := range fleet {
		p.becomes(fmt.Sprint("i", n), "passing")
	}
	silent.Store(true)
	p.metric("rollcall_probe_held 1")
	if out, _, _ := run(t, []string{"ROLLCALL_URL=" + p.url}, "status"); !strings.Contains(out, "most targets are silent since") {
		t.Errorf("the status says\n%s", out)
	}
	time.Sleep(2 * time.Second)
	for n := range fleet {
		if c := p.check(fmt.Sprint("i", n)); c.Status != "passing" {
			t.Errorf("i%d is %s: %s", n, c.Status, c.Output)
		}
	}
	silent.Store(false)
	p.metric("rollcall_probe_held 0")
	for n := range fleet {
		if lines := p.told(fmt.Sprint("i", n)); len(lines) != 1 {
			t.Errorf("i%d: %q", n, lines)
		}
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if logs := p.logs.String(); !strings.Contains(logs, "most probes get no answer") || !strings.Contains(logs, "most probes get answers again") {
		t.Errorf("logged %s", logs)
	}
}

// metric waits until a line is among the metrics.
func (p *process) metric(line string) {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, b, err := p.send("GET", "/metrics", "")
		if err != nil {
			p.t.Fatal(err)
		}
		if strings.Contains(string(b), "\n"+line+"\n") {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("there is no %s", line)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
