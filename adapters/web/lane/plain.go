package lane

import "bytes"

// plainRequest is a request in the plainest form: in the default namespace, without a query or a body, and with no
// headers but those that do not change the reply. Its slices point into the server's buffer.
type plainRequest struct {
	service []byte
	id      []byte // of the instance whose heartbeat it is; nil: a lookup of the service's instances
	host    []byte
	match   []byte // If-None-Match of a lookup; nil: there is none

	authorization []byte // nil: there is none
	encodings     []byte // Accept-Encoding; nil: there is none
}

var (
	putStart  = []byte("PUT /v1/services/")
	putEnd    = []byte("/heartbeat HTTP/1.1")
	getStart  = []byte("GET /v1/services/")
	getEnd    = []byte("/instances HTTP/1.1")
	instances = []byte("/instances/")
	lineEnd   = []byte("\r\n")
)

// readPlain reads a whole plain request. ok is false for any other bytes, and for a request with a header that is not
// listed here.
func readPlain(raw []byte) (request plainRequest, ok bool) {
	line, rest, ok := bytes.Cut(raw, lineEnd)
	if !ok || !request.readLine(line) {
		return plainRequest{}, false
	}
	hosts := 0
	for {
		line, rest, ok = bytes.Cut(rest, lineEnd)
		if !ok {
			return plainRequest{}, false
		}
		if len(line) == 0 {
			return request, len(rest) == 0 && hosts == 1
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
			ok = string(value) == "0"
		case is(name, "connection"):
			ok = is(value, "keep-alive")
		case is(name, "if-none-match"):
			ok = request.id == nil && request.match == nil
			request.match = value
		case is(name, "authorization"):
			ok = request.authorization == nil
			request.authorization = value
		case is(name, "accept-encoding"):
			ok = request.encodings == nil
			request.encodings = value
		default:
			ok = is(name, "user-agent") || is(name, "accept") || is(name, "accept-language") || is(name, "content-type")
		}
		if !ok {
			return plainRequest{}, false
		}
	}
}

func (r *plainRequest) readLine(line []byte) bool {
	if path, ok := bytes.CutPrefix(line, putStart); ok {
		path, isBeat := bytes.CutSuffix(path, putEnd)
		service, id, isInstance := bytes.Cut(path, instances)
		r.service, r.id = service, id
		return isBeat && isInstance && plainName(service) && plainName(id)
	}
	path, isGet := bytes.CutPrefix(line, getStart)
	service, isLookup := bytes.CutSuffix(path, getEnd)
	r.service = service
	return isGet && isLookup && plainName(service)
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
