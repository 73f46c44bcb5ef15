package lane

import "bytes"

// Kind is a kind of plain requests.
type Kind int

// The kinds of plain requests.
const (
	Lookup       Kind = iota // of the instances of a service
	Heartbeat                // of an instance
	Registration             // of an instance
	Heartbeats               // a batch
	Report                   // of a check, whose status the path says
	Update                   // of a check, whose status the body says
	History                  // of an instance, the newest entries
)

// Subject is what a plain request is about.
type Subject struct {
	Namespace []byte // nil: the default one
	Service   []byte // not of a batch
	ID        []byte // of the instance of a heartbeat, of a registration and of a history, of the check of a report and of an update
}

// plainRequest is a request in the plainest form: without a query but for a namespace, ready=true of a lookup, the limit of a history and the owner of a batch, and with no headers but those
// that do not change the reply. Registrations, batches and updates have a body in JSON, the other kinds have none. Its slices
// point into the server's buffer.
type plainRequest struct {
	kind Kind
	Subject
	status []byte // of a report: pass, warn or fail
	note   []byte // of a report
	body   []byte
	host   []byte
	ready  bool   // of a lookup: of the ready instances only
	match  []byte // If-None-Match of a lookup and of a history; nil: there is none
	limit  []byte // of a history: one to three digits; nil: there is none

	authorization []byte // nil: there is none
	via           []byte // Rollcall-Via; nil: there is none
	token         []byte // X-Consul-Token of a report and of an update; nil: there is none
	encodings     []byte // Accept-Encoding; nil: there is none
	owner         []byte // of a batch, with its escapes; nil: there is none
	minimal       bool   // Prefer: return=minimal, of a batch
}

var (
	putStart   = []byte("PUT /v1/services/")
	getStart   = []byte("GET /v1/services/")
	batchStart = []byte("POST /v1/heartbeats")
	lineEnd    = []byte("\r\n")
	version    = []byte(" HTTP/1.1")
	instances  = []byte("/instances")
	beat       = []byte("/heartbeat")
	history    = []byte("/history")
)

// readPlain reads a whole plain request: a report of a check, or one of the others. ok is false for any other bytes, and for a
// request with a header that is not listed here.
func readPlain(raw []byte, reports bool) (request plainRequest, ok bool) {
	line, rest, ok := bytes.Cut(raw, lineEnd)
	switch {
	case !ok:
	case reports:
		ok = request.readReport(line)
	default:
		ok = request.readLine(line)
	}
	if !ok {
		return plainRequest{}, false
	}
	hosts, length := 0, -1 // the length of the body; -1: the headers do not say
	types := 0             // Content-Type headers, of which none or one in JSON is plain for a body
	for {
		line, rest, ok = bytes.Cut(rest, lineEnd)
		if !ok {
			return plainRequest{}, false
		}
		if len(line) == 0 {
			request.body = rest
			return request, len(rest) == max(length, 0) && hosts == 1 && (!request.kind.hasBody() || length > 0 && types <= 1)
		}
		name, value, isHeader := bytes.Cut(line, []byte{':'})
		if !isHeader || !plainText(value) {
			return plainRequest{}, false
		}
		switch value = bytes.Trim(value, " "); {
		case is(name, "host"):
			hosts++
			ok = plainHost(value)
			request.host = value
		case is(name, "content-length"):
			ok = length < 0
			length = plainLength(value)
			ok = ok && length >= 0 && (length == 0 || request.kind.hasBody())
		case is(name, "connection"):
			ok = is(value, "keep-alive")
		case is(name, "if-none-match"):
			ok = (request.kind == Lookup || request.kind == History) && request.match == nil
			request.match = value
		case is(name, "authorization"):
			ok = request.authorization == nil
			request.authorization = value
		case is(name, "x-consul-token"):
			ok = (request.kind == Report || request.kind == Update) && request.token == nil
			request.token = value
		case is(name, "rollcall-via"):
			ok = !reports && request.via == nil && len(value) > 0
			request.via = value
		case is(name, "prefer"):
			ok = request.kind == Heartbeats && !request.minimal && is(value, "return=minimal")
			request.minimal = true
		case is(name, "accept-encoding"):
			ok = request.encodings == nil
			request.encodings = value
		case is(name, "content-type"):
			types++
			ok = !request.kind.hasBody() || is(value, "application/json") || is(value, "application/json; charset=utf-8")
		default:
			ok = unread(name)
		}
		if !ok {
			return plainRequest{}, false
		}
	}
}

// unread says whether a header is one that clients send and the server never reads.
func unread(name []byte) bool {
	for _, one := range []string{"user-agent", "accept", "accept-language", "cache-control", "sec-fetch-mode", "traceparent", "tracestate"} {
		if is(name, one) {
			return true
		}
	}
	return false
}

// hasBody says whether requests of the kind have a body.
func (k Kind) hasBody() bool { return k == Registration || k == Heartbeats || k == Update }

// together says whether a Batch carries out requests of the kind.
func (k Kind) together() bool { return k == Heartbeat || k == Registration }

func (r *plainRequest) readLine(line []byte) bool {
	line, isVersion := bytes.CutSuffix(line, version)
	path, query, asks := bytes.Cut(line, []byte{'?'})
	return isVersion && r.readPath(path) && (!asks || r.readQuery(query))
}

// readPath reads a method and a path.
func (r *plainRequest) readPath(path []byte) (ok bool) {
	if bytes.Equal(path, batchStart) {
		r.kind = Heartbeats
		return true
	}
	rest, gets := bytes.CutPrefix(path, getStart)
	if !gets {
		if rest, ok = bytes.CutPrefix(path, putStart); !ok {
			return false
		}
	}
	slash := bytes.IndexByte(rest, '/')
	if slash < 0 {
		return false
	}
	r.Service = rest[:slash]
	if rest, ok = bytes.CutPrefix(rest[slash:], instances); !ok || !plainName(r.Service) {
		return false
	}
	if len(rest) == 0 {
		r.kind = Lookup
		return gets
	}
	if gets {
		r.kind = History
		rest, ok = bytes.CutSuffix(rest, history)
	} else if rest, ok = bytes.CutSuffix(rest, beat); ok {
		r.kind = Heartbeat
	} else {
		r.kind, ok = Registration, true
	}
	if !ok || len(rest) == 0 || rest[0] != '/' {
		return false
	}
	r.ID = rest[1:]
	return plainName(r.ID)
}

// readQuery reads the parameters, each of which may be there once.
func (r *plainRequest) readQuery(query []byte) bool {
	for more := true; more; {
		var parameter []byte
		parameter, query, more = bytes.Cut(query, []byte{'&'})
		name, value, _ := bytes.Cut(parameter, []byte{'='})
		ok := false
		switch string(name) {
		case "ns":
			ok = r.Namespace == nil && plainNamespace(value)
			r.Namespace = value
		case "ready":
			ok = r.kind == Lookup && !r.ready && string(value) == "true"
			r.ready = true
		case "limit":
			ok = r.kind == History && r.limit == nil && len(value) <= 3 && plainLength(value) > 0
			r.limit = value
		case "owner":
			ok = r.kind == Heartbeats && r.owner == nil && plainValue(value)
			r.owner = value
		}
		if !ok {
			return false
		}
	}
	return true
}

// plainLength reads the length of a body; -1: it is not plain, or longer than any buffer.
func plainLength(value []byte) (n int) {
	if len(value) == 0 || len(value) > 6 || value[0] == '0' && len(value) > 1 {
		return -1
	}
	for _, digit := range value {
		if digit < '0' || digit > '9' {
			return -1
		}
		n = 10*n + int(digit-'0')
	}
	return n
}

// is says whether b is the name, without regard to case. name is in lower case.
func is(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range len(name) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// plainName says whether the bytes can be a name in a path, without escapes. The name may still be illegal: then the
// catalog does not have it.
func plainName(b []byte) bool {
	for _, c := range b {
		if !plainInName[c] {
			return false
		}
	}
	return len(b) > 0
}

// plainNamespace says whether the bytes can be the name of a namespace.
func plainNamespace(b []byte) bool { return plainNote(b) && len(b) > 0 }

// plainValue says whether the bytes can be one value in a query, which may have escapes.
func plainValue(b []byte) bool {
	for _, c := range b {
		if c != '%' && !plainInName[c] || c == '&' || c == '+' || c == ';' {
			return false
		}
	}
	return len(b) > 0
}

// plainInName are the characters that a URL's path may hold unescaped (RFC 3986, pchar without escapes).
var plainInName = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@") {
		set[c] = true
	}
	return set
}()

func plainText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func plainHost(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == ':' || c == '-' || c == '[' || c == ']') {
			return false
		}
	}
	return len(b) > 0
}
