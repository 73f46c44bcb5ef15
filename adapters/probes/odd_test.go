package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthServer is a health service that answers as a test says.
type healthServer struct {
	healthpb.UnimplementedHealthServer
	answer func(context.Context) (*healthpb.HealthCheckResponse, error)
}

func (s healthServer) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return s.answer(ctx)
}

// healthAt is a target with that answer.
func healthAt(t *testing.T, answer func(context.Context) (*healthpb.HealthCheckResponse, error), o ...grpc.ServerOption) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o...)
	healthpb.RegisterHealthServer(s, healthServer{answer: answer})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return Target{Kind: GRPC, Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}
}

// grpcAt is the target of gRPC at an address.
func grpcAt(t *testing.T, hostPort string) Target {
	t.Helper()
	_, port, _ := net.SplitHostPort(hostPort)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Kind: GRPC, Host: "127.0.0.1", Port: uint16(n)}
}

// What a server of gRPC answers is not mistaken for what the client makes up where there is no answer: both have the same codes.
func TestAnErrorOfAGRPCServerIsToldAsItsAnswer(t *testing.T) {
	fails := func(code codes.Code) Target {
		return healthAt(t, func(context.Context) (*healthpb.HealthCheckResponse, error) {
			return nil, status.Error(code, "own words")
		})
	}
	serves := func(s healthpb.HealthCheckResponse_ServingStatus) Target {
		return healthAt(t, func(context.Context) (*healthpb.HealthCheckResponse, error) {
			return &healthpb.HealthCheckResponse{Status: s}, nil
		})
	}
	huge := healthAt(t, func(context.Context) (*healthpb.HealthCheckResponse, error) {
		r := &healthpb.HealthCheckResponse{}
		r.ProtoReflect().SetUnknown(append([]byte{0x12, 0x80, 0x80, 0x04}, make([]byte, 64<<10)...))
		return r, nil
	})
	long := healthAt(t, func(context.Context) (*healthpb.HealthCheckResponse, error) {
		return nil, status.Error(codes.Internal, strings.Repeat("x", 100_000))
	})
	const goAway = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + // SETTINGS of HTTP/2
		"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x0b" // GOAWAY: calm down
	l := looker(t)
	for _, c := range []struct {
		name     string
		target   Target
		words    string // in the output
		answered bool
	}{
		{"its own deadline", fails(codes.DeadlineExceeded), " answered with an error after ", true},
		{"its own deadline, in words", fails(codes.DeadlineExceeded), ": DeadlineExceeded: own words", true},
		{"cancelled", fails(codes.Canceled), ": Canceled: own words", true},
		{"not available", fails(codes.Unavailable), ": Unavailable: own words", true},
		{"no rights", fails(codes.PermissionDenied), ": PermissionDenied: own words", true},
		{"no such service", fails(codes.NotFound), ": the server does not know the service", true},
		{"no health service", fails(codes.Unimplemented), ": the server has no health service", true},
		{"a code that nobody knows", fails(99), ": Code(99): own words", true},
		{"a service that is unknown", serves(healthpb.HealthCheckResponse_SERVICE_UNKNOWN), " answered SERVICE_UNKNOWN after ", true},
		{"a status that nobody knows", serves(99), " answered 99 after ", true},
		{"a huge message", huge, "ResourceExhausted: grpc: received message larger than max", true},
		{"a huge error", long, " failed after ", true},
		{"a server of HTTP/1", grpcAt(t, raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil)), ": the answer is not HTTP/2", true},
		{"garbage", grpcAt(t, raw(t, "garbage", nil)), ": the answer is not HTTP/2", true},
		{"a server that goes away", grpcAt(t, raw(t, goAway, nil)), " failed after ", false},
		{"a server that closes", grpcAt(t, raw(t, "", func(c net.Conn) {
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		})), ": the connection was closed without a whole answer", false},
		{"a server that resets", grpcAt(t, raw(t, "", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })), ": the connection was reset", false},
	} {
		f, words := look(t, l, c.target, "127.0.0.1")
		if f.Passed || !strings.Contains(words, c.words) || f.answered() != c.answered || strings.Contains(words, "rpc error") {
			t.Errorf("%s: passed %v, answered %v: %q", c.name, f.Passed, f.answered(), words)
		}
	}
}

func TestACertificateIsToldOfInGRPCToo(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	secure := credentials.NewTLS(&tls.Config{Certificates: server.TLS.Certificates})
	to := healthAt(t, func(context.Context) (*healthpb.HealthCheckResponse, error) {
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
	}, grpc.Creds(secure))
	to.TLS = true
	trusting := func(o *LookerOptions) {
		o.Roots = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	for name, c := range map[string]struct {
		looker *Looker
		extra  *Extra
		passed bool
		words  string
	}{
		"a known authority":    {looker(t, trusting), nil, true, " answered SERVING after "},
		"an unknown authority": {looker(t), nil, false, ": the certificate is signed by an unknown authority"},
		"another name":         {looker(t, trusting), &Extra{ServerName: "nobody.test"}, false, ": the certificate is not valid for nobody.test"},
	} {
		to.Extra = c.extra
		// A fleet whose certificates have ended is not a node that is cut off.
		if f, words := look(t, c.looker, to, "127.0.0.1"); f.Passed != c.passed || !f.answered() || !strings.Contains(words, c.words) {
			t.Errorf("%s: passed %v, answered %v: %q", name, f.Passed, f.answered(), words)
		}
	}
}

// A target whose answer is no HTTP was reached: a fleet of them is not a node that is cut off.
func TestAnAnswerThatIsNoHTTPIsAnAnswer(t *testing.T) {
	stays := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	endless := func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "X-More: and more and more and more and more\r\n"); err != nil {
				return
			}
		}
	}
	l := looker(t)
	for _, c := range []struct {
		name     string
		says     string
		then     func(net.Conn)
		words    string // in the output
		answered bool
	}{
		{"garbage", "\x00\x01garbage\r\n\r\n", nil, " failed after ", true},
		{"a banner", "220 mail.test ESMTP\r\n", stays, " failed after ", true},
		{"headers without end", "HTTP/1.1 200 OK\r\n", endless, " failed after ", true},
		{"a part of a head, and the end", "HTTP/1.1 200 OK\r\nX-A: b", nil, ": the connection was closed without a whole answer", true},
		{"a part of a head, and silence", "HTTP/1.1 20", stays, "GET / got no whole answer within 150 ms", true},
		{"silence", "", stays, "GET / got no answer within 150 ms", false},
		{"a server that closes", "", func(c net.Conn) {
			_ = c.(*net.TCPConn).CloseWrite()
			stays(c)
		}, ": the connection was closed without a whole answer", false},
	} {
		to := target(t, "http://"+raw(t, c.says, c.then), nil)
		to.Timeout = 150 * time.Millisecond
		if f, words := look(t, l, to, "127.0.0.1"); f.Passed || f.answered() != c.answered || !strings.Contains(words, c.words) {
			t.Errorf("%s: answered %v: %q (%v)", c.name, f.answered(), words, f.Err)
		}
	}
}

// What becomes of a redirect is not told of the URL that redirected.
func TestALookSaysWhereARedirectLed(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	hangs := raw(t, "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	l := looker(t)
	for to, words := range map[string]string{
		"http://" + nobody + "/in?key=secret": "GET /, redirected to http://" + nobody + "/in, failed after less than 1 ms: connection refused",
		"http://" + hangs + "/":               "GET /, redirected to http://" + hangs + "/, got no answer within 150 ms",
		"http://127.0.0.2:1/":                 "GET /, redirected to http://127.0.0.2:1/, is not allowed: 127.0.0.2 is neither ",
	} {
		first := target(t, "http://"+raw(t, "HTTP/1.1 302 Found\r\nLocation: "+to+"\r\nContent-Length: 0\r\n\r\n", nil), &Extra{Redirects: true})
		first.Timeout = 150 * time.Millisecond
		if f, got := look(t, l, first, "127.0.0.1"); f.Passed || !f.answered() || !strings.HasPrefix(strings.Replace(got, "after 1 ms", "after less than 1 ms", 1), words) {
			t.Errorf("answered %v: %q, not %q", f.answered(), got, words)
		}
	}
}

// A name that cannot be resolved says nothing of the target: it was not asked.
func TestANameThatIsNotResolvedInTimeIsToldAsSuch(t *testing.T) {
	l := looker(t, func(o *LookerOptions) {
		o.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	for _, kind := range []Kind{HTTP, TCP, GRPC} {
		f, words := look(t, l, Target{Kind: kind, Host: "slow.test", Port: 80, Path: "/", Timeout: 50 * time.Millisecond}, "127.0.0.1")
		if f.answered() || !errors.Is(f.Err, context.DeadlineExceeded) || !strings.HasSuffix(words, ": the name slow.test could not be resolved") {
			t.Errorf("%s: %q (%v)", kind, words, f.Err)
		}
	}
}

// An error may quote what the server sent.
func TestAnErrorDoesNotTellWhatTheCheckConceals(t *testing.T) {
	to := Target{Path: "/", Timeout: time.Second, Extra: &Extra{Headers: [][2]string{{"Authorization", "Bearer s3cr3t-t0ken"}}}}
	cause := fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", errors.New(`malformed HTTP response "s3cr3t-t0ken"`))
	for _, f := range []Finding{
		{Err: cause, Took: time.Second}, {Err: cause, Status: 200, Took: time.Second},
		{Err: told{status.Error(codes.Internal, `malformed HTTP response "s3cr3t-t0ken"`)}, Took: time.Second},
	} {
		if words := to.Words(f); !strings.HasSuffix(words, `malformed HTTP response "(concealed)"`) || strings.Contains(words, "net/http") {
			t.Errorf("%q", words)
		}
	}
}
