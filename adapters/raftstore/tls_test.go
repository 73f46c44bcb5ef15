package raftstore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// authority signs certificates of nodes.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

// config is that of a node whose certificate is for a name.
func (a *authority) config(t *testing.T, name string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: roots}
}

// freeAddress is a loopback address at which nobody listens. Where the system has all of 127.0.0.0/8, it is hardly one that anybody else has,
// nor one that connections go out from.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+mrand.IntN(254), mrand.IntN(256), 1+mrand.IntN(254)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Nodes speak over mutual TLS. A node whose certificate is for another name, or of another authority, takes no part.
func TestNodesSpeakOverMutualTLSByTheirNames(t *testing.T) {
	c := newCluster(t, three...)
	ca := newAuthority(t)
	for name := range c.members {
		c.members[name] = freeAddress(t)
	}
	certificate := map[string]*tls.Config{"n1": ca.config(t, "n1"), "n2": ca.config(t, "n2"), "n3": ca.config(t, "n1")}
	c.change = func(config *raftstore.Config) {
		own := certificate[config.Node]
		config.Network, config.TLS, config.Listen = nil, func() *tls.Config { return own }, c.members[config.Node]
	}
	for _, name := range three {
		c.start(name)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := c.nodes["n1"].Ready(short); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("with a node under a wrong name the cluster gave %v", err)
	}
	c.stop("n3")
	certificate["n3"] = newAuthority(t).config(t, "n3")
	c.start("n3")
	short, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := c.nodes["n1"].Ready(short); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("with a node of another authority the cluster gave %v", err)
	}
	c.stop("n3")
	certificate["n3"] = ca.config(t, "n3")
	c.startAll()
	c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	if all := c.equal(); len(all) != 1 {
		t.Errorf("there are %d events", len(all))
	}
}

// A node shows the certificate that it has when a connection begins, and goes by the authorities that it then has.
func TestCertificatesAreRenewedWithoutARestart(t *testing.T) {
	c := newCluster(t, three...)
	old, next := newAuthority(t), newAuthority(t)
	both := x509.NewCertPool()
	both.AddCert(old.cert)
	both.AddCert(next.cert)
	for name := range c.members {
		c.members[name] = freeAddress(t)
	}
	var mu sync.Mutex
	certificate := map[string]*tls.Config{}
	renew := func(a *authority, roots *x509.CertPool) {
		for _, name := range three {
			config := a.config(t, name)
			if roots != nil {
				config.RootCAs = roots
			}
			mu.Lock()
			certificate[name] = config
			mu.Unlock()
		}
	}
	renew(old, nil)
	c.change = func(config *raftstore.Config) {
		config.Network, config.Listen = nil, c.members[config.Node]
		config.TLS = func() *tls.Config {
			mu.Lock()
			defer mu.Unlock()
			return certificate[config.Node]
		}
	}
	c.startAll()
	renew(old, both) // the way from one authority to another
	renew(next, both)
	renew(next, nil)
	c.stop("n3") // its new process has to be let in
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	c.ready(c.start("n3"))
	c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
	if all := c.equal(); len(all) != 2 {
		t.Errorf("there are %d events", len(all))
	}
}
