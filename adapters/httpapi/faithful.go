package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// refuseMended refuses a document that the library has read as something else than the client wrote:
//   - a null as the whole document, in an array and in a map, which it reads as "" or 0. A field that is null is one that
//     is left out;
//   - a name that an object holds twice, of which it takes the last;
//   - a field in another case, which it takes for the field. Of "Status" and "status" in one object the last would count;
//   - half of a surrogate pair, which it replaces by U+FFFD: two names in a map can become one that way.
//
// v is what the document was read into. REQUIRES: the library has read the document into v without an error.
func refuseMended(written []byte, v any) error {
	d := document{rest: written}
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
	ruleNull      = "must not be null"
	ruleTwice     = "must be given once"
	ruleSurrogate = "must not hold half of a surrogate pair"
)

// document walks through a JSON document that is known to be well-formed, next to the type that it was read into.
type document struct{ rest []byte }

// value walks over one value. nullable says that null means that the value is left out. at is where the rule is broken,
// as ".field[0].field", from the value on.
func (d *document) value(t reflect.Type, nullable bool) (at, rule string) {
	d.space()
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch d.rest[0] {
	case '{':
		return d.object(t)
	case '[':
		return d.array(t)
	case '"':
		_, rule = d.text()
		return "", rule
	case 'n':
		d.rest = d.rest[len("null"):]
		if !nullable {
			rule = ruleNull
		}
		return "", rule
	}
	d.rest = bytes.TrimLeft(d.rest, "+-.0123456789eEtrufals") // a number, true or false
	return "", ""
}

func (d *document) array(t reflect.Type) (at, rule string) {
	var items reflect.Type
	if t != nil && t.Kind() == reflect.Slice && !readsItself(t) {
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
	case t == nil || readsItself(t):
	case t.Kind() == reflect.Struct:
		fields = fieldsOf(t)
	case t.Kind() == reflect.Map:
		values = t.Elem()
	}
	d.rest = d.rest[1:]
	for !d.ends('}') {
		name, rule := d.text()
		if rule == "" && names.again(name) {
			rule = ruleTwice
		}
		field, known := fields[name]
		if rule == "" && fields != nil && !known {
			rule = "is not a known field"
		}
		if rule != "" {
			return "." + name, rule
		}
		if values != nil {
			field = values
		}
		d.space()
		d.rest = d.rest[1:] // the colon
		if at, rule := d.value(field, values == nil); rule != "" {
			return "." + name + at, rule
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

func (d *document) space() { d.rest = bytes.TrimLeft(d.rest, " \t\r\n") }

// text walks over a string and gives what it says.
func (d *document) text() (text, rule string) {
	end, escaped := 1, false
	for d.rest[end] != '"' {
		if d.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	quoted := d.rest[:end+1]
	d.rest = d.rest[end+1:]
	if !escaped {
		return string(quoted[1:end]), ""
	}
	_ = json.Unmarshal(quoted, &text) // it is well-formed
	if halfPair(quoted) {
		rule = ruleSurrogate
	}
	return text, rule
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
	few  [16]string
	n    int
	many map[string]bool
}

// again says whether the name was there before, and notes it.
func (s *seen) again(name string) bool {
	for _, other := range s.few[:min(s.n, len(s.few))] {
		if other == name {
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
	if s.many[name] {
		return true
	}
	s.many[name] = true
	return false
}

var readsJSON, readsText = reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()

// readsItself says whether a type has a method of its own that reads it, so that its form in Go says nothing about its
// form in JSON.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(readsJSON) || p.Implements(readsText)
}

var structFields sync.Map // of map[string]reflect.Type, by the struct's type

// fieldsOf are the types of a struct's fields by their names in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := structFields.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
			fields[tag] = f.Type
		}
	}
	structFields.Store(t, fields)
	return fields
}
