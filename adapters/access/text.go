package access

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// text is a pattern of a claim's value or of a name. "{service}" stands for one or more letters, digits, ".", "_" and
// "-", and remembers what it stood for. "*" at the end stands for anything. Everything else stands for itself.
//
// INVARIANT: a value is matched in one way only. So nobody can choose a value whose parts are taken for others.
type text struct {
	match *regexp.Regexp
	names []string // of what is remembered, in the order of their groups
}

var (
	capture = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)
	bounds  = regexp.MustCompile(`[^A-Za-z0-9._-]`) // what no capture stands for
)

var (
	errBraces = errors.New(`may hold braces only around a name of a-z 0-9 _, such as {service}`)
	errStar   = errors.New(`may hold "*" at its end only`)
	errTwice  = errors.New("may name each capture once only")
	errApart  = errors.New(`must have a character between two captures, or a capture and "*", that is none of A-Z a-z 0-9 . _ -`)
)

func parseText(s string) (*text, error) {
	t := &text{}
	literal, star := strings.CutSuffix(s, "*")
	var pattern strings.Builder
	pattern.WriteString("^")
	end := 0
	for i, at := range capture.FindAllStringSubmatchIndex(literal, -1) {
		between, name := literal[end:at[0]], literal[at[2]:at[3]]
		if i > 0 && !bounds.MatchString(between) {
			return nil, errApart
		}
		if slices.Contains(t.names, name) {
			return nil, errTwice
		}
		t.names = append(t.names, name)
		pattern.WriteString(regexp.QuoteMeta(between) + "([A-Za-z0-9._-]+)")
		end = at[1]
	}
	rest := literal[end:]
	if star && end > 0 && !bounds.MatchString(rest) {
		return nil, errApart
	}
	pattern.WriteString(regexp.QuoteMeta(rest))
	if star {
		pattern.WriteString("(?s:.*)")
	}
	plain := capture.ReplaceAllString(literal, "")
	if strings.ContainsAny(plain, "{}") {
		return nil, errBraces
	}
	if strings.Contains(plain, "*") {
		return nil, errStar
	}
	var err error
	t.match, err = regexp.Compile(pattern.String() + "$")
	return t, err
}

// captures maps the names of captures to what they stood for.
type captures map[string]string

// join matches a value, and joins what it captures to known captures. ok is false where the value does not match, or
// a capture stood for something else before.
func (t *text) join(known captures, value string) (joined captures, ok bool) {
	groups := t.match.FindStringSubmatch(value)
	if groups == nil {
		return nil, false
	}
	if len(t.names) == 0 {
		return known, true
	}
	joined = maps.Clone(known)
	if joined == nil {
		joined = captures{}
	}
	for i, name := range t.names {
		if before, ok := joined[name]; ok && before != groups[i+1] {
			return nil, false
		}
		joined[name] = groups[i+1]
	}
	return joined, true
}

// fill puts captures into a template.
func (c captures) fill(template string) string {
	return capture.ReplaceAllStringFunc(template, func(braced string) string { return c[braced[1:len(braced)-1]] })
}

// used are the names of the captures that a template uses.
func used(template string) (names []string, err error) {
	for _, found := range capture.FindAllStringSubmatch(template, -1) {
		names = append(names, found[1])
	}
	if strings.ContainsAny(capture.ReplaceAllString(template, ""), "{}") {
		return nil, errBraces
	}
	return names, nil
}

// unknownCapture refuses a template that uses what its rule does not capture.
func unknownCapture(name string) error {
	return fmt.Errorf("uses {%s}, which the rule does not capture", name)
}
