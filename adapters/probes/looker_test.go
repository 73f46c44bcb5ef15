package probes

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-registry/rollcall/domain"
)

// looker may reach the loopback address of an instance that has it.
func looker(t *testing.T, change ...func(*LookerOptions)) *Looker {
	t.Helper()
	o := LookerOptions{Reach: domain.Reach{Loopback: true}, Now: time.Now, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "one.test":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case "metadata.test":
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
		case "both.test": // nobody listens at the first
			return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}}
	for _, c := range change {
		c(&o)
	}
	l := NewLooker(o)
	t.Cleanup(l.Close)
	return l
}

func look(t *testing.T, l *Looker, target Target, address string) (Finding, string) {
	t.Helper()
	if target.Timeout == 0 {
		target.Timeout = 5 * time.Second
	}
	began := time.Now()
	f := l.Look(t.Context(), &target, address, make([]byte, maxBody))
	if took := time.Since(began); took > target.Timeout+2*time.Second {
		t.Errorf("the look took %s", took)
	}
	return f, target.Words(f)
}

func target(t *testing.T, raw string, extra *Extra) Target {
	t.Helper()
	u, err := url.Parse(raw)
	var to Target
	if err != nil || !to.SetURL(u) {
		t.Fatalf("%s: %v", raw, err)
	}
	to.Extra = extra
	return to
}

// raw answers each connection with bytes, and then does what after says.
func raw(t *testing.T, answer string, after func(net.Conn)) (hostPort string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for line := "x"; strings.TrimSpace(line) != ""; {
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				if _, err := io.WriteString(c, answer); err == nil && after != nil {
					after(c)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestALookSaysInWordsWhatItSaw(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = w.Write([]byte("all is \x1b[31mwell\x00\n"))
		case "/broken":
			w.WriteHeader(500)
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
		case "/teapot":
			w.WriteHeader(418)
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		case "/away":
			http.Redirect(w, r, "http://127.0.0.2:1/", http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://metadata.test/latest", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/echo":
			b, _ := io.ReadAll(r.Body)
			fmt.Fprint(w, r.Method, " ", r.Host, " ", r.Header.Get("X-Probe"), " ", string(b), " ", r.UserAgent(), r.URL.RawQuery, r.Header.Get("X-Idempotency-Key"))
		case "/drip":
			w.WriteHeader(200)
			for {
				if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(server.Close) // after the parallel tests
	closed := raw(t, "", nil)
	garbage := raw(t, "\x00\x01garbage\r\n\r\n", nil)
	hangs := raw(t, "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	half := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", nil)
	headers := raw(t, "HTTP/1.1 200 OK\r\n", func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "X-More: and more and more and more and more\r\n"); err != nil {
				return
			}
		}
	})
	slowHeaders := raw(t, "HTTP/1.1 200 OK\r\n", func(c net.Conn) {
		for {
			time.Sleep(20 * time.Millisecond)
			if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
				return
			}
		}
	})
	switches := raw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	nobody := raw(t, "", nil)
	_, port, _ := net.SplitHostPort(nobody)
	l := looker(t)
	short := 150 * time.Millisecond
	for _, c := range []struct {
		name    string
		url     string
		extra   *Extra
		timeout time.Duration
		passed  bool
		words   string // that the words begin with
	}{
		{"a server that is well", server.URL + "/ok", nil, 0, true, "GET /ok answered 200 after "},
		{"a query is a secret", server.URL + "/ok?token=secret", nil, 0, true, "GET /ok answered 200 after "},
		{"a server that turned 500", server.URL + "/broken", nil, 0, false, "GET /broken answered 500 after "},
		{"a slow server", server.URL + "/slow", nil, short, false, "GET /slow got no answer within 150 ms"},
		{"another status that is expected", server.URL + "/teapot", &Extra{Statuses: []domain.StatusRange{{From: 200, To: 204}, {From: 418, To: 418}}}, 0, true, "GET /teapot answered 418 after "},
		{"a status that is not expected", server.URL + "/ok", &Extra{Statuses: []domain.StatusRange{{From: 204, To: 204}}}, 0, false, "GET /ok answered 200 after "},
		{"a redirect", server.URL + "/here", nil, 0, false, "GET /here answered 302 after "},
		{"a redirect that is followed", server.URL + "/here", &Extra{Redirects: true}, 0, true, "GET /here, redirected to " + server.URL + "/ok, answered 200 after "},
		{"redirects without end", server.URL + "/loop", &Extra{Redirects: true}, 0, false, "GET /loop, redirected to " + server.URL + "/loop, answered 307 after "},
		{"a redirect to another address", server.URL + "/away", &Extra{Redirects: true}, 0, false, "GET /away, redirected to http://127.0.0.2:1/, is not allowed: 127.0.0.2 is neither "},
		{"a redirect to a cloud's metadata", server.URL + "/metadata", &Extra{Redirects: true}, 0, false, "GET /metadata, redirected to http://metadata.test/latest, is not allowed: 169.254.169.254 is a link-local address"},
		{"a redirect to a file", server.URL + "/file", &Extra{Redirects: true}, 0, false, "GET /file is not allowed: the redirect leads to what is no URL"},
		{"a body that drips", server.URL + "/drip", nil, short, false, "GET /drip answered 200, but not the whole answer came within 150 ms"},
		{"a body without end", server.URL + "/endless", nil, 0, true, "GET /endless answered 200 after "},
		{"a server that closes", "http://" + closed, nil, 0, false, "GET / failed after "},
		{"a server that hangs", "http://" + hangs, nil, short, false, "GET / got no answer within 150 ms"},
		{"a half answer", "http://" + half, nil, 0, false, "GET / answered 200 after "},
		{"garbage", "http://" + garbage, nil, 0, false, "GET / failed after "},
		{"headers without end", "http://" + headers, nil, 0, false, "GET / failed after "},
		{"headers that drip", "http://" + slowHeaders, nil, short, false, "GET / got no whole answer within 150 ms"},
		{"a server that begins another protocol", "http://" + switches, nil, 0, false, "GET / answered 101 after "},
		{"an unknown name", "http://nowhere.test:" + port, nil, 0, false, "GET / failed after less than 1 ms: the name nowhere.test is not known"},
		{"a name of the instance's address", strings.Replace(server.URL, "127.0.0.1", "one.test", 1) + "/ok", nil, 0, true, "GET /ok answered 200 after "},
		{"another address", "http://127.0.0.2:" + port, nil, 0, false, "GET / is not allowed: 127.0.0.2 is neither "},
		{"a name of a cloud's metadata", "http://metadata.test", nil, 0, false, "GET / is not allowed: 169.254.169.254 is a link-local"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			to := target(t, c.url, c.extra)
			to.Timeout = c.timeout
			f, words := look(t, l, to, "127.0.0.1")
			if f.Passed != c.passed || !strings.HasPrefix(words, c.words) {
				t.Errorf("passed %v: %q (%v), want %v: %q", f.Passed, words, f.Err, c.passed, c.words)
			}
			if strings.ContainsAny(words, "\x00\x1b") || len(words) > domain.MaxOutput || !utf8.ValidString(words) {
				t.Errorf("%d bytes: %q", len(words), words)
			}
		})
	}

	t.Run("method, headers and body", func(t *testing.T) {
		to := target(t, server.URL+"/echo?a=b", &Extra{Method: "POST", Body: "hello", Headers: [][2]string{{"X-Probe", "yes"}, {"host", "other.test"}, {"User-Agent", "me"}}})
		f, _ := look(t, l, to, "127.0.0.1")
		if got := string(f.Body); got != "POST other.test yes hello mea=b" {
			t.Errorf("the server got %q", got)
		}
		f, _ = look(t, l, target(t, server.URL+"/echo", nil), "127.0.0.1")
		if got, want := string(f.Body), "GET "+strings.TrimPrefix(server.URL, "http://")+"   "+UserAgent; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	l := looker(t)
	for range 5 {
		if f, words := look(t, l, target(t, server.URL, nil), "127.0.0.1"); !f.Passed {
			t.Fatal(words)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("5 looks took %d connections", n)
	}
	server.CloseClientConnections() // what the server closed meanwhile is no failure of the server
	post := target(t, server.URL, &Extra{Method: "POST", Body: "x"})
	if f, words := look(t, l, post, "127.0.0.1"); !f.Passed {
		t.Error(words)
	}
}

func TestTheCertificateOfATargetIsVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer server.Close()
	plain := httptest.NewServer(server.Config.Handler)
	defer plain.Close()
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	trusting := looker(t, func(o *LookerOptions) { o.Roots = known })
	for _, c := range []struct {
		name   string
		looker *Looker
		url    string
		extra  *Extra
		passed bool
		words  string
	}{
		{"an unknown authority", looker(t), server.URL, nil, false, "the certificate is signed by an unknown authority"},
		{"verification off", trusting, server.URL, &Extra{Unverified: true, ServerName: "nobody.test"}, true, "GET / answered 200"},
		{"a known authority", trusting, server.URL, nil, true, "GET / answered 200"},
		{"the name of the certificate", trusting, server.URL, &Extra{ServerName: "example.com"}, true, "GET / answered 200"},
		{"another name", trusting, server.URL, &Extra{ServerName: "nobody.test"}, false, "the certificate is not valid for nobody.test"},
		{"no TLS", looker(t), strings.Replace(plain.URL, "http:", "https:", 1), nil, false, "the answer is not TLS"},
	} {
		f, words := look(t, c.looker, target(t, c.url, c.extra), "127.0.0.1") // connections of the others must not be used
		if f.Passed != c.passed || !strings.Contains(words, c.words) {
			t.Errorf("%s: passed %v: %q (%v)", c.name, f.Passed, words, f.Err)
		}
	}
}

func TestALookOpensAConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for host, passed := range map[string]bool{"127.0.0.1": true, "one.test": true, "127.0.0.2": false} {
		if f, words := look(t, looker(t), Target{Kind: TCP, Host: host, Port: port}, "127.0.0.1"); f.Passed != passed {
			t.Errorf("%s: %s", host, words)
		}
	}
	if f, words := look(t, looker(t), Target{Kind: TCP, Host: "both.test", Port: port}, "both.test"); !f.Passed {
		t.Errorf("the second address answers: %s", words)
	}
	l.Close()
	f, words := look(t, looker(t), Target{Kind: TCP, Host: "127.0.0.1", Port: port}, "127.0.0.1")
	if want := "connecting to 127.0.0.1:" + strconv.Itoa(int(port)) + " failed after "; f.Passed || !strings.HasPrefix(words, want) || !strings.HasSuffix(words, "connection refused") {
		t.Errorf("%q", words)
	}
}

func TestALookAsksTheHealthServiceOfGRPC(t *testing.T) {
	listen := func(register func(*grpc.Server)) uint16 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		register(s)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		return uint16(l.Addr().(*net.TCPAddr).Port)
	}
	state := health.NewServer()
	state.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	state.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	healthy := listen(func(s *grpc.Server) { healthpb.RegisterHealthServer(s, state) })
	without := listen(func(*grpc.Server) {})
	_, hangs, _ := net.SplitHostPort(raw(t, "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	hanging, _ := strconv.ParseUint(hangs, 10, 16)
	l := looker(t)
	for _, c := range []struct {
		name    string
		port    uint16
		service string
		passed  bool
		words   string
	}{
		{"the server", healthy, "", true, fmt.Sprintf("gRPC health of 127.0.0.1:%d answered SERVING after ", healthy)},
		{"a service that serves", healthy, "up", true, "gRPC health of up at "},
		{"a service that does not serve", healthy, "down", false, "answered NOT_SERVING after "},
		{"a service that the server does not know", healthy, "other", false, "the server does not know the service"},
		{"a server without health service", without, "", false, "the server has no health service"},
		{"nobody listens", 1, "", false, "connection refused"},
		{"a server that hangs", uint16(hanging), "", false, "got no answer within 300 ms"},
	} {
		f, words := look(t, l, Target{Kind: GRPC, Host: "127.0.0.1", Port: c.port, Path: c.service, Timeout: 300 * time.Millisecond}, "127.0.0.1")
		if f.Passed != c.passed || !strings.Contains(words, c.words) {
			t.Errorf("%s: passed %v: %q", c.name, f.Passed, words)
		}
	}
	if f, words := look(t, l, Target{Kind: GRPC, Host: "127.0.0.2", Port: healthy}, "127.0.0.1"); f.Passed || !strings.Contains(words, "is not allowed") {
		t.Errorf("another address: %q", words)
	}
}

// Some servers answer with the request. What the check conceals does not stand in the output of an event.
func TestOutputDoesNotTellWhatTheCheckConceals(t *testing.T) {
	to := Target{Path: "/health?key=0123456789", Timeout: time.Second, Extra: &Extra{
		Headers: [][2]string{{"Authorization", "Bearer s3cr3t-t0ken"}, {"X-Short", "on"}}, Body: `{"password":"xyz"}`,
	}}
	words := to.Words(Finding{Status: 200, Took: time.Second, Body: []byte("/health?key=0123456789 turned on\nAuthorization: Bearer s3cr3t-t0ken\ntoken=s3cr3t-t0ken\n" + `{"password":"xyz"}`)})
	const want = "GET /health answered 200 after 1 s\n/health?(concealed) turned on\nAuthorization: (concealed)\ntoken=(concealed)\n(concealed)"
	if words != want {
		t.Errorf("%q, not %q", words, want)
	}
}

func TestOutputHasNoControlCharactersAndIsShort(t *testing.T) {
	to := Target{Path: "/health", Timeout: time.Second}
	words := to.Words(Finding{Status: 503, Took: 12 * time.Millisecond, Body: []byte(strings.Repeat("x", maxBody))})
	if !strings.HasPrefix(words, "GET /health answered 503 after 12 ms\nxxx") || len(words) != domain.MaxOutput {
		t.Errorf("%d bytes: %.60q", len(words), words)
	}
	if words := to.Words(Finding{Status: 200, Took: time.Second, Body: []byte(" a\x00b\x1b[1mc\r\n")}); words != "GET /health answered 200 after 1 s\nab[1mc" {
		t.Errorf("%q", words)
	}
}
