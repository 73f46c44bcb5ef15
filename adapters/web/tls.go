package web

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// ClientAuth says whether clients must show a certificate.
type ClientAuth string

// The kinds of client authentication.
const (
	ClientAuthOff      ClientAuth = "off"
	ClientAuthOptional ClientAuth = "optional" // a certificate that is shown must be good
	ClientAuthRequired ClientAuth = "required"
)

// TLS is how a server speaks TLS. The zero value means that the server speaks plain HTTP.
type TLS struct {
	Cert, Key  string // files in PEM; they are read again when they change
	ClientCA   string // file of the authorities that sign clients' certificates; it is read again when it changes
	ClientCRL  string // file of the certificates that these authorities revoked; "": there is none; it is read again when it changes
	ClientAuth ClientAuth
	Logger     *slog.Logger
}

// On says whether the server is to speak TLS. Clients that must show a certificate need TLS.
func (t TLS) On() bool {
	return t.Cert != "" || t.Key != "" || t.ClientCA != "" || t.ClientCRL != "" || t.ClientAuth != "" && t.ClientAuth != ClientAuthOff
}

// lookEvery is how often files are looked at for changes.
const lookEvery = time.Second

// Config reads the files and gives the configuration of a server: TLS 1.2 and later, with the suites and curves
// that Go takes for sound.
func (t TLS) Config() (*tls.Config, error) {
	switch {
	case t.ClientAuth != ClientAuthOff && t.ClientAuth != ClientAuthOptional && t.ClientAuth != ClientAuthRequired:
		return nil, domain.InvalidField{Field: "tls-client-auth", Rule: "must be off, optional or required"}
	case t.Cert == "" || t.Key == "":
		return nil, domain.InvalidField{Field: "tls", Rule: "must have both a certificate and a key"}
	case (t.ClientAuth == ClientAuthOff) != (t.ClientCA == ""):
		return nil, domain.InvalidField{Field: "tls-client-auth", Rule: "must be optional or required with a client CA, and off without"}
	case t.ClientCRL != "" && t.ClientCA == "":
		return nil, domain.InvalidField{Field: "tls-client-crl", Rule: "must be left out without a client CA"}
	}
	files := &tlsFiles{settings: t}
	if err := files.read(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.current(), nil },
	}, nil
}

// tlsFiles keeps what the files said when they were read last.
type tlsFiles struct {
	settings TLS

	mu     sync.Mutex
	config *tls.Config
	stamps [4]stamp // of the certificate, the key, the client CA and what it revoked
	looked time.Time
}

// stamp tells two contents of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// current is the configuration for a new connection. Files that changed are read again; if they cannot be used,
// what was read before stays in force, and the log says so.
func (f *tlsFiles) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < lookEvery {
		return f.config
	}
	f.looked = now
	if stamps := f.look(); stamps != f.stamps {
		if err := f.read(); err != nil {
			f.stamps = stamps // until they change again
			f.settings.Logger.Error("changed TLS files cannot be used; those that were read before stay in force", "cause", err)
		} else {
			f.settings.Logger.Info("TLS files were read again")
		}
	}
	return f.config
}

func (f *tlsFiles) look() (stamps [4]stamp) {
	for i, path := range []string{f.settings.Cert, f.settings.Key, f.settings.ClientCA, f.settings.ClientCRL} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// read reads all files. The caller holds the mutex, or is the only one.
func (f *tlsFiles) read() error {
	stamps := f.look()
	pair, err := keyPair(f.settings.Cert, f.settings.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate and key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if f.settings.ClientCA != "" {
		pem, err := durable.ReadRegular(f.settings.ClientCA)
		if err != nil {
			return fmt.Errorf("TLS client CA: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("TLS client CA: the file holds no certificate")
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
		if f.settings.ClientAuth == ClientAuthRequired {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		if f.settings.ClientCRL != "" {
			revoked, err := readRevoked(f.settings.ClientCRL, pem, f.settings.Logger)
			if err != nil {
				return fmt.Errorf("TLS client CRL: %w", err)
			}
			config.VerifyConnection = revoked.check // also of a connection that resumes a session
		}
	}
	f.config, f.stamps = config, stamps
	return nil
}

// keyPair reads a certificate and its key.
func keyPair(cert, key string) (pair tls.Certificate, err error) {
	certPEM, err := durable.ReadRegular(cert)
	if err != nil {
		return pair, err
	}
	keyPEM, err := durable.ReadRegular(key)
	if err != nil {
		return pair, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}
