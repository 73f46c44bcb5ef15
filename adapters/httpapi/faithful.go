package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
)

// refuseMended refuses a document that the library has read as something else than the client wrote:
//   - a null as the whole document, in an array and in a map, which it reads as "" or 0. A field that is null is one that
//     is left out;
//   - a name that an object holds twice, of which it takes the last;
//   - a field in another case, which it takes for the field. Of "Status" and "status" in one object the last would count;
//   - half of a surrogate pair, which it replaces by U+FFFD: two names in a map can become one that way.
//
// v is what the document was read into. REQUIRES: the library has read the document into v, and found no error but an unknown field.
func refuseMended(written []byte, v any) error {
	d := document{rest: written}
	return d.refuse(v)
}

// refuseUnread refuses a value that a method of its type cannot read. The error of the method does not know where the value stands.
// REQUIRES: as refuseMended, but for the error of such a method.
func refuseUnread(written []byte, v any) error {
	d := document{rest: written, reads: true}
	return d.refuse(v)
}

// refuse walks over the whole document.
func (d *document) refuse(v any) error {
	at, rule := d.value(reflect.TypeOf(v).Elem(), false)
	if rule == "" {
		return nil
	}
	if at = strings.TrimPrefix(at, "."); at == "" {
		at = "body"
	}
	return invalidField(at, rule)
}

const (
	ruleUnknown   = "is not a known field"
	ruleNull      = "must not be null"
	ruleTwice     = "must be given once"
	ruleSurrogate = "must not hold half of a surrogate pair"
)

// document walks through a JSON document that is known to be well-formed, next to the type that it was read into.
type document struct {
	rest  []byte
	reads bool // values whose types read themselves are read
}

// value walks over one value. nullable says that null means that the value is left out. at is where the rule is broken,
// as ".field[0].field", from the value on.
func (d *document) value(t reflect.Type, nullable bool) (at, rule string) {
	d.space()
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	begin := d.rest
	at, rule = d.form(t, nullable)
	if rule == "" && d.reads && t != nil && shapeOf(t).readsItself {
		var invalid domain.InvalidField
		if err := json.Unmarshal(begin[:len(begin)-len(d.rest)], reflect.New(t).Interface()); errors.As(err, &invalid) {
			return "", invalid.Rule
		}
	}
	return at, rule
}

// form is value for one whose type has no pointer, at its first byte.
func (d *document) form(t reflect.Type, nullable bool) (at, rule string) {
	switch d.rest[0] {
	case '{':
		return d.object(t)
	case '[':
		return d.array(t)
	case '"':
		if quoted, escaped := d.quoted(); escaped && halfPair(quoted) {
			rule = ruleSurrogate
		}
		return "", rule
	case 'n':
		d.rest = d.rest[len("null"):]
		if !nullable {
			rule = ruleNull
		}
		return "", rule
	}
	for i, b := range d.rest { // a number, true or false
		if b == ',' || b == ']' || b == '}' || isSpace(b) {
			d.rest = d.rest[i:]
			return "", ""
		}
	}
	d.rest = nil
	return "", ""
}

func (d *document) array(t reflect.Type) (at, rule string) {
	var items reflect.Type
	if t != nil && t.Kind() == reflect.Slice && !shapeOf(t).readsItself {
		items = t.Elem()
	}
	d.rest = d.rest[1:]
	for i := 0; !d.ends(']'); i++ {
		if at, rule = d.value(items, items == nil); rule != "" {
			return "[" + strconv.Itoa(i) + "]" + at, rule
		}
	}
	return "", ""
}

func (d *document) object(t reflect.Type) (at, rule string) {
	var names seen
	var fields map[string]reflect.Type
	var values reflect.Type
	switch {
	case t == nil || shapeOf(t).readsItself:
	case t.Kind() == reflect.Struct:
		fields = shapeOf(t).fields
	case t.Kind() == reflect.Map:
		values = t.Elem()
	}
	d.rest = d.rest[1:]
	for !d.ends('}') {
		name, rule := d.name()
		if rule == "" && names.again(name) {
			rule = ruleTwice
		}
		field, known := fields[string(name)]
		if rule == "" && fields != nil && !known {
			rule = ruleUnknown
		}
		if rule != "" {
			return "." + string(name), rule
		}
		if values != nil {
			field = values
		}
		d.space()
		d.rest = d.rest[1:] // the colon
		if at, rule := d.value(field, values == nil); rule != "" {
			return "." + string(name) + at, rule
		}
	}
	return "", ""
}

// ends says whether an array or an object ends here, and goes past its end, or past the comma before its next item.
func (d *document) ends(end byte) bool {
	d.space()
	switch d.rest[0] {
	case end:
		d.rest = d.rest[1:]
		return true
	case ',':
		d.rest = d.rest[1:]
		d.space()
	}
	return false
}

func (d *document) space() {
	for len(d.rest) > 0 && isSpace(d.rest[0]) {
		d.rest = d.rest[1:]
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

// quoted walks over a string.
func (d *document) quoted() (quoted []byte, escaped bool) {
	end := 1
	for d.rest[end] != '"' {
		if d.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	quoted = d.rest[:end+1]
	d.rest = d.rest[end+1:]
	return quoted, escaped
}

// name walks over the name of an object's field and gives what it says.
func (d *document) name() (name []byte, rule string) {
	quoted, escaped := d.quoted()
	if !escaped {
		return quoted[1 : len(quoted)-1], ""
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it is well-formed
	if halfPair(quoted) {
		rule = ruleSurrogate
	}
	return []byte(text), rule
}

// halfPair says whether a quoted string holds a surrogate (\ud800 to \udfff) without the other one of its pair.
func halfPair(quoted []byte) bool {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		if i++; quoted[i] != 'u' {
			continue
		}
		switch unit := codeUnit(quoted[i+1:]); {
		case unit >= 0xdc00 && unit < 0xe000:
			return true
		case unit >= 0xd800 && unit < 0xdc00:
			next := quoted[i+5:]
			if !bytes.HasPrefix(next, []byte(`\u`)) {
				return true
			}
			if second := codeUnit(next[2:]); second < 0xdc00 || second >= 0xe000 {
				return true
			}
			i += len(`\udc00`)
		}
		i += 4
	}
	return false
}

func codeUnit(digits []byte) uint64 {
	unit, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // well-formed
	return unit
}

// seen are an object's names so far. A long object's are kept in a map, so that a body of a megabyte costs no more
// than its length.
type seen struct {
	few  [16][]byte
	n    int
	many map[string]bool
}

// again says whether the name was there before, and notes it.
func (s *seen) again(name []byte) bool {
	for _, other := range s.few[:min(s.n, len(s.few))] {
		if bytes.Equal(other, name) {
			return true
		}
	}
	if s.n++; s.n <= len(s.few) {
		s.few[s.n-1] = name
		return false
	}
	if s.many == nil {
		s.many = map[string]bool{}
	}
	if s.many[string(name)] {
		return true
	}
	s.many[string(name)] = true
	return false
}

var readsJSON, readsText = reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()

// shape is what the walk needs to know of a type.
type shape struct {
	readsItself bool                    // a method of its own reads it, so that its form in Go says nothing about that in JSON
	fields      map[string]reflect.Type // a struct's, by their names in JSON
}

var shapes sync.Map // of *shape, by reflect.Type

func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	p := reflect.PointerTo(t)
	s := &shape{readsItself: p.Implements(readsJSON) || p.Implements(readsText)}
	if t.Kind() == reflect.Struct {
		s.fields = map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
				s.fields[tag] = f.Type
			}
		}
	}
	shapes.Store(t, s)
	return s
}
