package httpapi

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
)

// plainJSON reads JSON without escapes from its beginning. After a failure it stays failed, and what it reads means nothing.
type plainJSON struct {
	rest   string
	failed bool
}

func (p *plainJSON) space() { p.rest = skipSpace(p.rest) }

// opens goes past the beginning of an object or an array, and says whether it has a first item.
func (p *plainJSON) opens(begin, end byte) bool {
	p.need(begin)
	if p.space(); p.rest != "" && p.rest[0] == end {
		p.rest = p.rest[1:]
		return false
	}
	return !p.failed
}

// goesOn goes past a comma, or past the end of an object or an array, and says whether another item follows.
func (p *plainJSON) goesOn(end byte) bool {
	if p.space(); p.failed || p.rest == "" || p.rest[0] != ',' {
		p.need(end)
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// need goes past one byte, or fails.
func (p *plainJSON) need(b byte) {
	if p.space(); p.rest == "" || p.rest[0] != b {
		p.failed = true
		return
	}
	p.rest = p.rest[1:]
}

// name goes past the name of an object's field.
func (p *plainJSON) name() string {
	name := p.text()
	p.need(':')
	return name
}

// once fails where an object has a field twice. seen are the numbers of the fields that were read of it.
func (p *plainJSON) once(seen *uint32, field int) {
	p.failed = p.failed || *seen&(1<<field) != 0
	*seen |= 1 << field
}

// plainMap reads an object of which every field has a value of one kind, and each name comes once.
func plainMap[V any](p *plainJSON, value func() V) map[string]V {
	m := make(map[string]V, 1)
	for more := p.opens('{', '}'); more; more = p.goesOn('}') {
		name := p.name()
		_, twice := m[name]
		p.failed = p.failed || twice
		m[name] = value()
	}
	return m
}

func (p *plainJSON) text() string {
	if p.need('"'); p.failed {
		return ""
	}
	end := strings.IndexByte(p.rest, '"')
	if end < 0 {
		p.failed = true
		return ""
	}
	text := p.rest[:end]
	for i := range len(text) {
		if text[i] < ' ' || text[i] == '\\' {
			p.failed = true
			return ""
		}
	}
	p.rest = p.rest[end+1:]
	return text
}

// number reads a whole number that is not negative and at most the limit. REQUIRES: the limit is at most 1<<59, so that
// nothing overflows.
func (p *plainJSON) number(limit uint64) (n uint64) {
	p.space()
	digits := 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' && n <= limit {
		n = 10*n + uint64(p.rest[digits]-'0')
		digits++
	}
	if digits == 0 || n > limit || digits > 1 && p.rest[0] == '0' {
		p.failed = true
		return 0
	}
	p.rest = p.rest[digits:] // a fraction or an exponent that follows makes the next step fail
	return n
}

func (p *plainJSON) ttl() domain.Duration {
	text := p.text()
	read, err := domain.ParseDuration(text)
	p.failed = p.failed || err != nil || domain.Duration(read) == domain.NoTTL
	return domain.Duration(read)
}

// plainStrings appends the strings of a JSON array of strings without escapes. ok is false for any other body, and for
// an array with more than MaxBatch strings: then the JSON library must read the body.
//
// The strings point into body: the caller must not change body while a string is in use.
func plainStrings(into []string, body []byte) (names []string, ok bool) {
	text := unsafe.String(unsafe.SliceData(body), len(body))
	rest := skipSpace(text)
	if rest == "" || rest[0] != '[' {
		return nil, false
	}
	names = slices.Grow(into, min(1+strings.Count(rest, ","), MaxBatch))
	for rest = rest[1:]; ; {
		rest = skipSpace(rest)
		if rest == "" || rest[0] != '"' {
			return nil, false // also an empty array
		}
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if b := rest[end]; b < ' ' || b >= 0x80 || b == '\\' {
				return nil, false
			}
			end++
		}
		if end == len(rest) {
			return nil, false
		}
		if len(names) == MaxBatch {
			return nil, false
		}
		names = append(names, rest[1:end])
		rest = skipSpace(rest[end+1:])
		switch {
		case rest == "":
			return nil, false
		case rest[0] == ',':
			rest = rest[1:]
		case rest[0] == ']':
			return names, skipSpace(rest[1:]) == ""
		default:
			return nil, false
		}
	}
}

// skipSpace returns s without the white space at its beginning that JSON allows between tokens.
func skipSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}
