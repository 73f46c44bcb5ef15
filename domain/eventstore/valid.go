package eventstore

import "github.com/rollcall-registry/rollcall/domain/plain"

// maxNesting is how deep values may be nested, as encoding/json has it.
const maxNesting = 10_000

// validJSON is json.Valid, several times as fast: nearly all that it reads are short texts, which plain.Span passes over by eights.
func validJSON(b []byte) bool {
	rest, ok := skipValue(skipSpace(b), 0)
	return ok && len(skipSpace(rest)) == 0
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// skipValue gives what follows the value with which b begins. nesting is the number of values in which the value is.
func skipValue(b []byte, nesting int) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case '{':
		return skipMembers(b[1:], nesting+1, '}', true)
	case '[':
		return skipMembers(b[1:], nesting+1, ']', false)
	case '"':
		return skipString(b[1:])
	case 't':
		return skipWord(b, "true")
	case 'f':
		return skipWord(b, "false")
	case 'n':
		return skipWord(b, "null")
	}
	return skipNumber(b)
}

func skipWord(b []byte, word string) (rest []byte, ok bool) {
	if len(b) < len(word) || string(b[:len(word)]) != word {
		return nil, false
	}
	return b[len(word):], true
}

// skipMembers passes over the values of an array, or the names and values of an object, and over its end.
func skipMembers(b []byte, nesting int, end byte, named bool) (rest []byte, ok bool) {
	if nesting > maxNesting {
		return nil, false
	}
	b = skipSpace(b)
	if len(b) > 0 && b[0] == end {
		return b[1:], true
	}
	for {
		if named {
			if len(b) == 0 || b[0] != '"' {
				return nil, false
			}
			if b, ok = skipString(b[1:]); !ok {
				return nil, false
			}
			if b = skipSpace(b); len(b) == 0 || b[0] != ':' {
				return nil, false
			}
			b = skipSpace(b[1:])
		}
		if b, ok = skipValue(b, nesting); !ok {
			return nil, false
		}
		b = skipSpace(b)
		switch {
		case len(b) > 0 && b[0] == end:
			return b[1:], true
		case len(b) == 0 || b[0] != ',':
			return nil, false
		}
		b = skipSpace(b[1:])
	}
}

// skipString gives what follows a string, without its first quotation mark.
func skipString(b []byte) (rest []byte, ok bool) {
	for {
		b = b[plain.Span(b):]
		if len(b) == 0 {
			return nil, false
		}
		switch c := b[0]; {
		case c == '"':
			return b[1:], true
		case c < ' ':
			return nil, false
		case c == '\\':
			if b, ok = skipEscape(b[1:]); !ok {
				return nil, false
			}
		default: // above ASCII
			b = b[1:]
		}
	}
}

func skipEscape(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return b[1:], true
	case 'u':
		for i := 1; i <= 4; i++ {
			if i >= len(b) || !isHex(b[i]) {
				return nil, false
			}
		}
		return b[5:], true
	}
	return nil, false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func skipNumber(b []byte) (rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if len(b) > 0 && b[0] == '0' {
		b = b[1:]
	} else if b, ok = skipDigits(b); !ok {
		return nil, false
	}
	if len(b) > 0 && b[0] == '.' {
		if b, ok = skipDigits(b[1:]); !ok {
			return nil, false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		return skipDigits(b)
	}
	return b, true
}

// skipDigits passes over at least one digit.
func skipDigits(b []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return b[n:], n > 0
}
