package web

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"
)

func TestACertificateHasOneNameOrNone(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	for _, c := range []struct {
		subject string
		isCA    bool
		uris    []string
		want    string
	}{
		{"checkout", false, nil, "cn:checkout"},
		{"checkout", true, nil, "cn:checkout"},
		{"checkout", false, []string{"https://example.com"}, "cn:checkout"},
		{"spiffe://prod.example/a", false, nil, "cn:spiffe://prod.example/a"},
		{"", false, nil, ""},
		{"a\nb", false, nil, ""},
		{"a\xffb", false, nil, ""},
		{long, false, nil, ""},
		{"x", false, []string{"spiffe://prod.example/ns/a"}, "spiffe://prod.example/ns/a"},
		{"", false, []string{"spiffe://prod.example"}, "spiffe://prod.example"},
		{"x", true, []string{"spiffe://prod.example/ns/a"}, ""},
		{"x", false, []string{"spiffe://prod.example/a", "spiffe://prod.example/b"}, ""},
		{"x", false, []string{"https://example.com", "spiffe://prod.example/b"}, ""},
		{"x", false, []string{"spiffe://PROD.example/a"}, ""},
		{"x", false, []string{"spiffe://prod.example/a/../b"}, ""},
		{"x", false, []string{"spiffe://prod.example/a?b=c"}, ""},
		{"x", false, []string{"spiffe://user@prod.example/a"}, ""},
		{"x", false, []string{"spiffe://prod.example/" + long}, ""},
	} {
		certificate := &x509.Certificate{Subject: pkix.Name{CommonName: c.subject}, IsCA: c.isCA}
		for _, text := range c.uris {
			uri, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			certificate.URIs = append(certificate.URIs, uri)
		}
		if got := NameOf(certificate); got != c.want {
			t.Errorf("%q %v: %q, not %q", c.subject, c.uris, got, c.want)
		}
	}
}
