package access

import (
	"crypto/x509"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// workload is whom a verified certificate names; nil: nobody.
func workload(certificate *x509.Certificate, rules []CertificateRule) *web.Caller {
	actor := web.NameOf(certificate)
	if actor == "" {
		return nil
	}
	subject, isSubject := strings.CutPrefix(actor, web.SubjectPrefix)
	var rights []domain.TokenSpec
	for i := range rules {
		r := &rules[i]
		name := actor
		if isSubject {
			name = subject
		}
		if isSubject != (r.SPIFFE == "") {
			continue
		}
		if found, ok := r.text.join(nil, name); ok && len(rights) < maxRights {
			rights = append(rights, r.spec(found))
		}
	}
	return web.NewCaller(web.ByCertificate, actor, rights, certificate.NotAfter)
}
