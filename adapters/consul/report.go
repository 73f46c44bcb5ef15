package consul

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

func (f *face) passCheck(q *request) error { return f.report(q, domain.Passing, q.query.Get("note")) }
func (f *face) warnCheck(q *request) error { return f.report(q, domain.Warning, q.query.Get("note")) }
func (f *face) failCheck(q *request) error { return f.report(q, domain.Critical, q.query.Get("note")) }

func (f *face) updateCheck(q *request) error {
	body, err := q.body()
	if err != nil {
		return err
	}
	status, output, err := readUpdate(body)
	if err != nil {
		return err
	}
	return f.report(q, status, output)
}

// readUpdate reads the body of an update.
func readUpdate(body []byte) (status domain.Status, output string, err error) {
	var update struct{ Status, Output string }
	if err := json.Unmarshal(body, &update); err != nil {
		return "", "", undecodable(err)
	}
	switch update.Status {
	case passing, warning, critical:
		return domain.Status(update.Status), update.Output, nil
	}
	return "", "", failure{http.StatusBadRequest, fmt.Sprintf("Invalid check status: '%s'", update.Status)}
}

// maxOutput is how much of a check's output is kept, as with Consul.
const maxOutput = 4096

// clipped is an output as it is kept.
func clipped(output string) string {
	size := len(output)
	if size <= maxOutput {
		return output
	}
	note := fmt.Sprintf(" ... (captured %d of %d bytes)", maxOutput, size)
	return strings.ToValidUTF8(output[:min(maxOutput, domain.MaxOutput-len(note))], "") + note
}

// report reports a ttl check.
func (f *face) report(q *request, status domain.Status, output string) error {
	found, live := f.findCheck(q, nodeOf(q), q.id)
	if !live {
		return unknownCheck(q.id)
	}
	if check := f.Queries.Live.Catalog().Find(found.key).Check(found.check); check != nil && check.Kind != domain.CheckTTL {
		return notTTL(q.id)
	}
	if _, err := f.do(q, domain.ReportCheck{Key: found.key, Check: found.check, Status: status, Output: clipped(output)}); err != nil {
		return err
	}
	return done(q)
}

func notTTL(id string) failure {
	return failure{http.StatusInternalServerError, fmt.Sprintf("CheckID %q does not have associated TTL", id)}
}
