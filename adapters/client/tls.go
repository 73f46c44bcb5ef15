package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
)

// TLS is the configuration of a transport that trusts the authorities in a file ("": the system's) and shows the
// certificate in another ("": none). All files are PEM. Where the server may
// have ended a connection because of the client's certificate, the errors of requests say so.
func TLS(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := readFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("a certificate and its key go together")
	}
	config.GetClientCertificate = show(nil)
	if cert != "" {
		pair, err := keyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.Certificates, config.GetClientCertificate = []tls.Certificate{pair}, show(&pair)
	}
	return config, nil
}

// Of the certificate of a client, when the server asked for one.
const (
	noneShown = "the server asks for a client certificate, and this client shows none"
	noneSuits = "the server asks for a client certificate of other authorities than this client's"
	mayRefuse = "the server may have refused this client's certificate"
)

// askedKey is the key of a context under which a request keeps what show found.
type askedKey struct{}

// withAsked is a context for a request that notes in asked what show finds.
func withAsked(ctx context.Context, asked *atomic.Value) context.Context {
	return context.WithValue(ctx, askedKey{}, asked)
}

// show gives a server that asks for a certificate the client's, if it suits; nil: the client has none. It notes what it found, since a server
// that refuses a certificate ends the connection when the client takes it for open (TLS 1.3): the client often sees only that a write failed.
func show(pair *tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		found, shown := mayRefuse, pair
		switch {
		case pair == nil:
			found, shown = noneShown, &tls.Certificate{}
		case info.SupportsCertificate(pair) != nil:
			found, shown = noneSuits, &tls.Certificate{}
		}
		if asked, ok := info.Context().Value(askedKey{}).(*atomic.Value); ok {
			asked.Store(found)
		}
		return shown, nil
	}
}
