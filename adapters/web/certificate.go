package web

import (
	"crypto/tls"
	"crypto/x509"
	"unicode"
	"unicode/utf8"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// MaxName is the length of the longest name that others vouch for, in bytes.
const MaxName = 256

// SubjectPrefix begins the names of certificates that are known by their subject. No SPIFFE id begins with it.
const SubjectPrefix = "cn:"

// CertificateOf is the verified certificate of a connection's client; nil: the client showed none.
func CertificateOf(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}

// NameOf is the name in a certificate: its SPIFFE id, or else "cn:" and the common name of its subject. A certificate
// with a SPIFFE id among several URIs, or with one that is malformed, names nobody (""), and is never known by its subject.
func NameOf(certificate *x509.Certificate) string {
	for _, uri := range certificate.URIs {
		if uri.Scheme != "spiffe" {
			continue
		}
		id, err := spiffeid.FromURI(uri)
		if err != nil || len(certificate.URIs) != 1 || certificate.IsCA || len(id.String()) > MaxName {
			return ""
		}
		return id.String()
	}
	name := SubjectPrefix + certificate.Subject.CommonName
	if len(name) == len(SubjectPrefix) || len(name) > MaxName || !Printable(name) {
		return ""
	}
	return name
}

// Printable says whether a text can be shown as a name.
func Printable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
