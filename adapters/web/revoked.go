package web

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// revoked are the certificates that authorities revoked: the serial numbers of each issuer.
type revoked map[revokedBy]struct{}

type revokedBy struct{ issuer, serial string }

var errRevoked = errors.New("the certificate is revoked")

// readRevoked reads revocation lists (RFC 5280) from a file, in PEM or one in DER. Each must be signed by one of the
// authorities. A list that should have been renewed stays in force, and the log says so.
func readRevoked(path string, authorities []byte, logger *slog.Logger) (revoked, error) {
	content, err := durable.ReadRegular(path)
	if err != nil {
		return nil, err
	}
	var lists [][]byte
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "X509 CRL" {
			lists = append(lists, block.Bytes)
		}
	}
	if len(lists) == 0 {
		lists = [][]byte{content}
	}
	signers := certificates(authorities)
	all := revoked{}
	for _, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("the file holds no revocation list: %w", err)
		}
		if err := signed(list, signers); err != nil {
			return nil, err
		}
		if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			logger.Warn("a list of revoked certificates should have been renewed; it stays in force", "issuer", list.Issuer.String(), "until", list.NextUpdate)
		}
		for _, entry := range list.RevokedCertificateEntries {
			all[revokedBy{string(list.RawIssuer), string(entry.SerialNumber.Bytes())}] = struct{}{}
		}
	}
	return all, nil
}

func certificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
}

// signed checks that one of the authorities signed a list.
func signed(list *x509.RevocationList, authorities []*x509.Certificate) error {
	cause := errors.New("no authority has the name of its issuer")
	for _, authority := range authorities {
		if string(authority.RawSubject) != string(list.RawIssuer) {
			continue
		}
		if cause = list.CheckSignatureFrom(authority); cause == nil {
			return nil
		}
	}
	return fmt.Errorf("the revocation list of %s is not signed by an authority of the clients: %w", list.Issuer, cause)
}

// check refuses a connection whose client has no chain of certificates without a revoked one. A client without a certificate
// is not refused here.
func (r revoked) check(c tls.ConnectionState) error {
	for _, chain := range c.VerifiedChains {
		if !r.holds(chain) {
			return nil
		}
	}
	if len(c.PeerCertificates) == 0 {
		return nil
	}
	return errRevoked
}

// holds says whether one of a chain's certificates is revoked.
func (r revoked) holds(chain []*x509.Certificate) bool {
	for _, c := range chain {
		if _, ok := r[revokedBy{string(c.RawIssuer), string(c.SerialNumber.Bytes())}]; ok {
			return true
		}
	}
	return false
}
