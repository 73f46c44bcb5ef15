package access

import (
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// workload is the caller with the name of a certificate (web.NameOf), with what the rules grant.
func workload(name string, expires time.Time, rules []CertificateRule) *web.Caller {
	subject, isSubject := strings.CutPrefix(name, web.SubjectPrefix)
	var rights []domain.TokenSpec
	for i := range rules {
		r := &rules[i]
		value := name
		if isSubject {
			value = subject
		}
		if isSubject != (r.SPIFFE == "") {
			continue
		}
		if found, ok := r.text.join(nil, value); ok && len(rights) < maxRights {
			rights = append(rights, r.spec(found))
		}
	}
	return web.NewCaller(web.ByCertificate, name, rights, expires)
}
