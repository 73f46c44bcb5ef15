package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Each node that failed is told once, with its own cause, whichever was tried first. Nodes that fail alike are told together.
func TestEachNodeIsToldWithItsOwnCause(t *testing.T) {
	const (
		leaderless = "http://a,http://b,http://c"
		noLeader   = `{"type":"urn:rollcall:problem:no-leader","status":503,"detail":"there is no leader"}`
	)
	away := &script{steps: []step{{err: &net.OpError{Op: "dial", Net: "tcp", Addr: address("a:80"), Err: errors.New("no route")}}}}
	refused := func(at string) *script {
		return &script{steps: []step{{err: &net.OpError{Op: "dial", Net: "tcp", Addr: address(at), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}}}
	}
	says := &script{steps: []step{{status: 503, body: noLeader}}}
	page := &script{steps: []step{{status: 404, body: "<html>"}}}
	for name, one := range map[string]struct {
		urls  string
		nodes byHost
		want  string
	}{
		"two causes":       {"http://a,http://b:1", byHost{"a": away, "b:1": refused("b:1")}, "no answer from http://a: dial tcp a:80: no route; no answer from http://b:1: connection refused"},
		"one cause":        {"http://a:1,http://b:2", byHost{"a:1": refused("a:1"), "b:2": refused("b:2")}, "no answer from http://a:1, http://b:2: connection refused"},
		"another address":  {"http://a:1,http://b:2", byHost{"a:1": refused("10.0.0.1:1"), "b:2": refused("b:2")}, "no answer from http://a:1: dial tcp 10.0.0.1:1: connect: connection refused; no answer from http://b:2: connection refused"},
		"a page":           {"http://a:1,http://b", byHost{"a:1": refused("a:1"), "b": page}, "http://b is not a Rollcall server: it answered 404 Not Found; no answer from http://a:1: connection refused"},
		"a node without":   {"http://a:1,http://b,http://c:1", byHost{"a:1": refused("a:1"), "b": says, "c:1": refused("c:1")}, "http://b answered: there is no leader; no answer from http://a:1, http://c:1: connection refused"},
		"all are without":  {leaderless, byHost{"a": says, "b": says, "c": says}, "there is no leader"},
		"one of one":       {"http://a", byHost{"a": says}, "there is no leader"},
		"all three differ": {leaderless, byHost{"a": away, "b": page, "c": says}, "http://c answered: there is no leader; http://b is not a Rollcall server: it answered 404 Not Found; no answer from http://a: dial tcp a:80: no route"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 8 {
					c, err := client.New(one.urls, client.Options{Transport: one.nodes})
					if err != nil {
						t.Fatal(err)
					}
					err = lookUp(t.Context(), c)
					if fmt.Sprint(err) != one.want {
						t.Errorf("%v\nwant %s", err, one.want)
					}
					if said := new(*wire.Problem); errors.As(err, said) != strings.Contains(one.want, "leader") {
						t.Errorf("%T of %v", err, err)
					}
				}
			})
		})
	}
}

// address is a host and a port.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// A certificate that nobody trusts is told beside a node that is dead.
func TestAWrongCertificateIsToldBesideADeadNode(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	for range 8 {
		c, err := client.New(dead.URL+","+secure.URL, client.Options{Transport: http.DefaultTransport})
		if err != nil {
			t.Fatal(err)
		}
		err = lookUp(t.Context(), c)
		var silent *client.Unreachable
		if !errors.As(err, &silent) || silent.URL != dead.URL+", "+secure.URL || silent.Unknown || errors.As(err, new(*url.Error)) {
			t.Fatalf("%T %v", err, err)
		}
		if text := err.Error(); strings.Count(text, "no answer from") != 2 || !strings.Contains(text, "certificate") || !strings.Contains(text, dead.URL+": connection refused") {
			t.Errorf("%s", text)
		}
	}
}

// What differs at each attempt is left out of a cause: whoever tells of each cause once must know it again.
func TestACauseIsTheSameAtEachAttempt(t *testing.T) {
	cert := &x509.Certificate{NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0)}
	for name, c := range map[string]struct {
		err  func(attempt int) error
		want string
	}{
		"an expired certificate": {func(attempt int) error {
			return &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired, Detail: fmt.Sprint("the time is ", attempt)}}
		}, "no answer from http://a: tls: failed to verify certificate: it has expired or is not valid yet: it is valid from 2001-09-09T01:46:40Z to 2033-05-18T03:33:20Z"},
		"a reset": {func(attempt int) error {
			return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 40_000 + attempt}, Addr: &net.TCPAddr{Port: 7700}, Err: syscall.ECONNRESET}
		}, "no answer from http://a: read: connection reset by peer"},
	} {
		t.Run(name, func(t *testing.T) {
			registry, err := client.New("http://a", client.Options{Transport: &script{steps: []step{{err: c.err(1)}, {err: c.err(2)}}}})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := registry.Status(t.Context()); err == nil || err.Error() != c.want {
					t.Errorf("it is told: %v", err)
				}
			}
		})
	}
}
