package httpapi

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
)

// plainJSON reads JSON without escapes from its beginning. After a failure it stays failed, and what it reads means nothing.
//
// It counts how far it has read, for the reason of plain.Reader.
type plainJSON struct {
	text   string
	at     int // text was read up to here
	failed bool
}

// rest is what was not read yet.
func (p *plainJSON) rest() string { return p.text[p.at:] }

// next is the next byte; 0: there is none.
func (p *plainJSON) next() byte {
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *plainJSON) space() {
	for p.at < len(p.text) && p.text[p.at] <= ' ' && isSpace(p.text[p.at]) {
		p.at++
	}
}

// opens goes past the beginning of an object or an array, and says whether it has a first item.
func (p *plainJSON) opens(begin, end byte) bool {
	p.need(begin)
	if p.space(); p.next() == end {
		p.at++
		return false
	}
	return !p.failed
}

// goesOn goes past a comma, or past the end of an object or an array, and says whether another item follows.
func (p *plainJSON) goesOn(end byte) bool {
	if p.space(); p.failed || p.next() != ',' {
		p.need(end)
		return false
	}
	p.at++
	return true
}

// need goes past one byte, or fails. REQUIRES: the byte is not 0.
func (p *plainJSON) need(b byte) {
	if p.space(); p.next() != b {
		p.failed = true
		return
	}
	p.at++
}

// name goes past the name of an object's field.
func (p *plainJSON) name() string {
	name := p.string()
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

func (p *plainJSON) string() string {
	if p.need('"'); p.failed {
		return ""
	}
	begin := p.at
	for i := begin; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return p.text[begin:i]
		case c < ' ' || c == '\\':
			p.failed = true
			return ""
		}
	}
	p.failed = true
	return ""
}

// number reads a whole number that is not negative and at most the limit. REQUIRES: the limit is at most 1<<59, so that
// nothing overflows.
func (p *plainJSON) number(limit uint64) (n uint64) {
	p.space()
	text := p.rest()
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' && n <= limit {
		n = 10*n + uint64(text[digits]-'0')
		digits++
	}
	if digits == 0 || n > limit || digits > 1 && text[0] == '0' {
		p.failed = true
		return 0
	}
	p.at += digits // a fraction or an exponent that follows makes the next step fail
	return n
}

func (p *plainJSON) ttl() domain.Duration {
	text := p.string()
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
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}
