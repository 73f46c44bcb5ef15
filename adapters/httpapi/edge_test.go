package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// certificate is one for tests, for 127.0.0.1.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
}

// listen lets the API also listen as the real server does, and gives the address.
func (s *server) listen(secure *tls.Config, connections *web.Proxies) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	edge := web.NewServer(s.api, s.api.Lane(), slog.New(slog.DiscardHandler))
	edge.TLS, edge.ProxyProtocol = secure, connections
	ended := make(chan error, 1)
	go func() { ended <- edge.Serve(l) }()
	s.t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = edge.Shutdown(gone) // clients of the test may be connected
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
	return l.Addr().String()
}

func trust(t testing.TB, networks ...string) *web.Proxies {
	t.Helper()
	p, err := web.NewProxies(networks, "any")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Under TLS the lane answers as it does without, wherever a request is cut.
func TestTheLaneUnderTLSIsByteForByteTheServer(t *testing.T) {
	b := startTwins(t)
	b.lane.URL = "https://" + b.lane.listen(certificate(t), nil)
	beat, body := request("PUT", beatA1), `{"address":"10.0.0.9"}`
	before := b.lane.api.Lane().Answered()
	for _, r := range []string{beat, request("GET", lookup), request("GET", "/v1/services/many/instances"), request("PUT", beatA1+"?epoch=7"), request("GET", lookup, "If-None-Match:"),
		request("PUT", a1, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body))) + body} {
		for cut := 1; cut < len(r); cut += 7 {
			b.compare(t, 1, r[:cut], r[cut:])
		}
		b.compare(t, 3, r, r, r)
		b.compare(t, 3, r+r+r)
		b.compare(t, 5, r+r[:3], r[3:]+r, r, r[:len(r)-1], r[len(r)-1:])
		b.compare(t, 4, r, beat, r+beat)
	}
	if b.lane.api.Lane().Answered() == before {
		t.Error("no request took the lane")
	}
}

func TestUnderTLSTheServerSpeaksHTTP2BesideTheLane(t *testing.T) {
	s := start(t)
	s.fleet(1)
	address := s.listen(certificate(t), nil)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for range 3 {
		resp, err := (&http.Client{Transport: transport}).Get("https://" + address + lookup)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.ProtoMajor != 2 || resp.StatusCode != 200 || err != nil {
			t.Errorf("%s %s, %v", resp.Proto, resp.Status, err)
		}
		_ = resp.Body.Close()
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, _ = plain.Write([]byte(request("GET", lookup)))
	if answer, err := io.ReadAll(plain); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") {
		t.Errorf("plain HTTP is answered with %q, %v", answer, err)
	}
}

// sources are the sources of the newest events of an instance, newest last.
func (s *server) sources(header ...string) []string {
	s.t.Helper()
	var page struct {
		Entries []struct {
			Source string `json:"source"`
		} `json:"entries"`
	}
	s.send("GET", "/v1/services/checkout/instances/a-1/history?order=oldest", "", header...).want(s.t, 200).json(s.t, &page)
	var all []string
	for _, e := range page.Entries {
		all = append(all, e.Source)
	}
	return all
}

// Events, networks of tokens and what else goes by the source believe a trusted proxy, and nobody else.
func TestEventsAndNetworksGoByTheSourceThatTheProxyNames(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		g := guarded{}
		g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
			c.Access, g.commands = &web.Access{Tokens: c.Tokens, Now: time.Now}, c.AccessCommands
			if trusted {
				c.Proxies = trust(t, "127.0.0.1/32")
			}
		})
		far := g.token("far", domain.TokenSpec{Roles: []string{"admin"}, Networks: []string{"192.0.2.0/24"}})
		near := g.token("near", domain.TokenSpec{Roles: []string{"admin"}, Networks: []string{"127.0.0.0/8"}})
		behind := []string{"X-Forwarded-For", "127.0.0.1, 192.0.2.7"}
		body := `{"address":"10.0.0.1"}`
		if trusted {
			g.send("PUT", a1, body, append(near, behind...)...).want(t, 401)
			g.send("PUT", a1, body, append(far, behind...)...).want(t, 201)
			g.send("PUT", a1, body, append(far, "Forwarded", "for=_hidden")...).want(t, 401)
			if got := fmt.Sprint(g.sources(append(far, behind...)...)); got != "[192.0.2.7]" {
				t.Errorf("the sources are %s", got)
			}
		} else {
			g.send("PUT", a1, body, append(far, behind...)...).want(t, 401)
			g.send("PUT", a1, body, append(near, behind...)...).want(t, 201)
			if got := fmt.Sprint(g.sources(near...)); got != "[127.0.0.1]" {
				t.Errorf("the sources are %s", got)
			}
		}
	}
}

// header2 is a header of the PROXY protocol.
func header2(t testing.TB, version byte, client string) []byte {
	t.Helper()
	from, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, from, &net.TCPAddr{IP: from.IP, Port: 7700}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A connection's source is the one that the PROXY header of a trusted proxy names, before TLS and in the lane, too.
func TestThePROXYHeaderOfATrustedProxyNamesTheSource(t *testing.T) {
	local := []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
	unspecified := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00")
	for name, c := range map[string]struct {
		trusted string
		header  []byte
		want    string // source of a heartbeat; "": no reply
	}{
		"IPv4":                            {"127.0.0.1", header2(t, 2, "192.0.2.7:99"), "192.0.2.7"},
		"IPv6":                            {"127.0.0.1", header2(t, 2, "[2001:db8::7]:99"), "2001:db8::7"},
		"the proxy itself":                {"127.0.0.1", local, "127.0.0.1"},
		"a proxy that does not say":       {"127.0.0.1", unspecified, "unknown"},
		"version 1":                       {"127.0.0.1", header2(t, 1, "192.0.2.7:99"), ""},
		"no header":                       {"127.0.0.1", nil, ""},
		"half a header":                   {"127.0.0.1", header2(t, 2, "192.0.2.7:99")[:20], ""},
		"a client that sends one itself":  {"10.0.0.0/8", header2(t, 2, "192.0.2.7:99"), ""},
		"a client that connects directly": {"10.0.0.0/8", nil, "127.0.0.1"},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " TLS ", secure), func(t *testing.T) {
				t.Parallel()
				s := start(t)
				s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
				var config *tls.Config
				if secure {
					config = certificate(t)
				}
				raw, err := net.Dial("tcp", s.listen(config, trust(t, c.trusted)))
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				for _, part := range [][]byte{c.header[:len(c.header)/2], c.header[len(c.header)/2:]} {
					_, _ = raw.Write(part)
				}
				conn := raw
				if secure {
					conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
				}
				if name == "half a header" {
					_ = raw.(*net.TCPConn).CloseWrite()
				}
				before := s.api.Lane().Answered()
				r := bufio.NewReader(conn)
				for i := range 2 {
					_, _ = conn.Write([]byte(request("PUT", beatA1)))
					resp, err := http.ReadResponse(r, nil)
					if c.want == "" {
						if err == nil && resp.StatusCode != 400 {
							t.Errorf("the reply is %s", resp.Status)
						}
						return
					}
					if err != nil || resp.StatusCode != 200 {
						t.Fatalf("%v, %v", resp, err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					if want := int64(i); s.api.Lane().Answered()-before < want {
						t.Error("the second heartbeat did not take the lane")
					}
				}
				events := s.send("GET", "/v1/events?heartbeats=true&type=HeartbeatReceived", "").want(t, 200).body
				if want := []byte(`"source":"` + c.want + `"`); bytes.Count(events, want) != 2 {
					t.Errorf("the events are %s, want 2 with %s", events, want)
				}
			})
		}
	}
}

// The server notices under TLS, too, that the client of a request that waits has closed its connection.
func TestAClientThatLeavesUnderTLSEndsItsRequest(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		begun, ended := make(chan struct{}), make(chan struct{})
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
			close(ended)
		})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := web.NewServer(handler, start(t).api.Lane(), slog.New(slog.DiscardHandler))
		server.TLS = certificate(t)
		var group errgroup.Group
		group.Go(func() error { return server.Serve(l) })
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(request("GET", "/waits")))
		<-begun
		_ = c.Close()
		<-ended
		_ = server.Shutdown(t.Context())
		if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
}
