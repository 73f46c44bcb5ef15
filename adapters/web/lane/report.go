package lane

import "bytes"

// Reports answers the plain reports of checks of one connection, as Face answers other requests, with the same INVARIANTs. The
// paths are those of Consul's API, because no other API's clients report checks one by one so often.
type Reports interface {
	// Authorize is called before each report with its headers X-Consul-Token and Authorization; nil: there is none. false
	// makes the report the HTTP server's.
	Authorize(token, authorization []byte) bool
	// Report reports a check. status is pass, warn or fail, or nil: then the body is JSON, or says that it is.
	Report(check, status, note, body []byte) (reply Reply, mine bool)
}

var (
	reportStart = []byte("PUT /v1/agent/check/")
	updates     = []byte("update")
	noteStart   = []byte("note=")
)

// readReport reads the first line of a report.
func (r *plainRequest) readReport(line []byte) bool {
	line, isReport := bytes.CutPrefix(line, reportStart)
	line, isPlain := bytes.CutSuffix(line, version)
	verb, id, hasID := bytes.Cut(line, []byte{'/'})
	if !isReport || !isPlain || !hasID {
		return false
	}
	if bytes.Equal(verb, updates) {
		r.kind, r.ID = Update, id
		return plainName(id)
	}
	r.kind, r.status = Report, verb
	id, query, asks := bytes.Cut(id, []byte{'?'})
	note, isNote := bytes.CutPrefix(query, noteStart)
	r.ID, r.note = id, note
	return plainName(id) && plainNote(note) && (!asks || isNote) && isStatus(verb)
}

func isStatus(verb []byte) bool {
	switch string(verb) {
	case "pass", "warn", "fail":
		return true
	}
	return false
}

// plainNote says whether the bytes are a value of a query that stands for itself.
func plainNote(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~') {
			return false
		}
	}
	return true
}

// report carries out a report. REQUIRES: as carryOut.
func (c *conn) report(request *plainRequest) (reply Reply, mine bool) {
	if c.reports == nil {
		c.reports = c.lane.options.Reports(c.Conn)
	}
	if !c.reports.Authorize(request.token, request.authorization) {
		return Reply{}, false
	}
	return c.reports.Report(request.ID, request.status, request.note, request.body)
}
