package web

import "strings"

// forwardedNodes are the nodes (for=) of a line of the header Forwarded (RFC 7239, section 4), an element each; "" for an
// element without a node. ok is false if the line is malformed: a client can open a quote that swallows what the
// proxy adds behind it, so that no part of such a line can be believed.
func forwardedNodes(line string) (nodes []string, ok bool) {
	rest := line
	for {
		var node string
		if node, rest, ok = forwardedElement(rest); !ok {
			return nil, false
		}
		nodes = append(nodes, node)
		if rest == "" {
			return nodes, true
		}
		rest = rest[1:] // the comma
	}
}

// forwardedElement reads pairs up to a comma or the end.
func forwardedElement(s string) (node, rest string, ok bool) {
	seen := false
	for {
		s = trimStart(s)
		if s == "" || s[0] == ',' {
			return node, s, true
		}
		if s[0] == ';' {
			s = s[1:]
			continue
		}
		var name, value string
		if name, value, s, ok = forwardedPair(s); !ok {
			return "", "", false
		}
		if strings.EqualFold(name, "for") {
			if seen {
				return "", "", false
			}
			node, seen = value, true
		}
		s = trimStart(s)
		if s != "" && s[0] != ',' && s[0] != ';' {
			return "", "", false
		}
	}
}

// forwardedPair reads name=value, where the value is a token or a quoted string.
func forwardedPair(s string) (name, value, rest string, ok bool) {
	name, s, ok = token(s)
	if !ok || s == "" || s[0] != '=' {
		return "", "", "", false
	}
	s = s[1:]
	if s != "" && s[0] == '"' {
		value, rest, ok = quoted(s[1:])
	} else {
		value, rest, ok = token(s)
	}
	return name, value, rest, ok
}

func trimStart(s string) string { return strings.TrimLeft(s, " \t") }

// token reads a token of RFC 9110, and takes the characters of an address for parts of it, since proxies often leave the
// quotes out.
func token(s string) (read, rest string, ok bool) {
	i := 0
	for i < len(s) && (isAlphanumeric(s[i]) || strings.IndexByte("!#$%&'*+-.^_`|~:[]", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:], i > 0
}

// quoted reads a quoted string behind its first quote.
func quoted(s string) (read, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
