package httpapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

var null = []byte("null")

// refuseNull refuses a null as the whole document, in an array and in a map: encoding/json reads such a null as "" or 0.
// A field of an object may be null, which means that the field is left out. v is the value that the document was read
// into.
func refuseNull(document []byte, v any) error {
	if !bytes.Contains(document, null) {
		return nil
	}
	if field, found := nullIn(document, reflect.TypeOf(v).Elem(), ""); found {
		if field == "" {
			field = "body"
		}
		return invalidField(field, "must not be null")
	}
	return nil
}

// nullIn finds the first null in a part of the document. t is the part's type, and field the part's name in the whole
// document. encoding/json has read the document before, so that the part is valid JSON of the type.
func nullIn(document json.RawMessage, t reflect.Type, field string) (at string, found bool) {
	if bytes.Equal(bytes.TrimSpace(document), null) {
		return field, true
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map:
		return nullInObject(document, field, func(string) (reflect.Type, bool) { return t.Elem(), true })
	case reflect.Struct:
		return nullInObject(document, field, func(name string) (reflect.Type, bool) { return fieldType(t, name) })
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(document, &items) != nil { // the part is a text that is read into bytes
			return "", false
		}
		for i, item := range items {
			if at, found := nullIn(item, t.Elem(), field+"["+strconv.Itoa(i)+"]"); found {
				return at, true
			}
		}
	}
	return "", false
}

// nullInObject finds the first null in the fields of an object. typeOf gives a field's type, and whether the field needs
// a value: the values of a map do.
func nullInObject(document json.RawMessage, field string, typeOf func(name string) (t reflect.Type, must bool)) (at string, found bool) {
	d := json.NewDecoder(bytes.NewReader(document))
	if start, err := d.Token(); err != nil || start != json.Delim('{') { // the type reads its JSON by a method of its own
		return "", false
	}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return "", false
		}
		t, must := typeOf(name)
		if t == nil || !must && bytes.Equal(value, null) {
			continue
		}
		if field != "" {
			name = field + "." + name
		}
		if at, found := nullIn(value, t, name); found {
			return at, true
		}
	}
	return "", false
}

// fieldType is the type of a struct's field by the field's name in JSON, or nil.
func fieldType(t reflect.Type, name string) (found reflect.Type, must bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct {
			if inner, _ := fieldType(f.Type, name); inner != nil {
				return inner, false
			}
			continue
		}
		if strings.EqualFold(tag, name) {
			return f.Type, false
		}
	}
	return nil, false
}
