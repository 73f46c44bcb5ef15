package access

import (
	"crypto/x509"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// nameOf is the name in a certificate: its SPIFFE id, or else the common name of its subject. A certificate with another
// URI than one SPIFFE id, or with several, is nobody's by its URI, and a SPIFFE certificate is never known by its subject.
func nameOf(certificate *x509.Certificate) (name string, isSPIFFE, ok bool) {
	for _, uri := range certificate.URIs {
		if uri.Scheme != "spiffe" {
			continue
		}
		id, err := spiffeid.FromURI(uri)
		if err != nil || len(certificate.URIs) != 1 || certificate.IsCA || len(id.String()) > maxActor {
			return "", true, false
		}
		return id.String(), true, true
	}
	name = certificate.Subject.CommonName
	return name, false, namesSomebody(name) && len(name) <= maxActor-len("cn:")
}

// workload is whom a verified certificate names; nil: nobody.
func workload(certificate *x509.Certificate, rules []CertificateRule) *web.Caller {
	name, isSPIFFE, ok := nameOf(certificate)
	if !ok {
		return nil
	}
	var rights []domain.TokenSpec
	for i := range rules {
		r := &rules[i]
		if isSPIFFE != (r.SPIFFE != "") {
			continue
		}
		if found, ok := r.text.join(nil, name); ok && len(rights) < maxRights {
			rights = append(rights, r.spec(found))
		}
	}
	actor := name
	if !isSPIFFE {
		actor = "cn:" + name
	}
	return web.NewCaller(web.ByCertificate, actor, rights, certificate.NotAfter)
}
