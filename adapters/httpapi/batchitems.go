package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
)

// items splits a body into its commands. A body is an array, or NDJSON.
func items(c echo.Context, body []byte) (items []json.RawMessage, err error) {
	body = bytes.Trim(body, jsonSpace)
	switch {
	case len(body) == 0:
		return nil, problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is empty")
	case isLines(c):
		for line := range bytes.Lines(body) {
			line = bytes.Trim(line, jsonSpace)
			if len(line) == 0 {
				continue
			}
			if len(items) == MaxBatch {
				return nil, tooMany()
			}
			items = append(items, line)
		}
	case body[0] == '[':
		return elements[json.RawMessage](body)
	default:
		if err := json.Unmarshal(body, new(json.RawMessage)); err != nil {
			return nil, decodeError(err)
		}
		return nil, invalidField("body", "must be an array: each single command has a route of its own")
	}
	return items, nil
}

func tooMany() error {
	return problem(http.StatusRequestEntityTooLarge, "too-many", "The batch is too long", fmt.Sprintf("a batch has at most %d items", MaxBatch))
}

// elements reads a body that is a JSON array. It stops at the first element after MaxBatch, so that a body of two
// million zeros costs no more than a batch.
func elements[T any](body []byte) (elements []T, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if _, err := d.Token(); err != nil { // the bracket
		return nil, decodeError(err)
	}
	for d.More() {
		if len(elements) == MaxBatch {
			return nil, tooMany()
		}
		var element T
		if err := d.Decode(&element); err != nil {
			return nil, decodeError(err)
		}
		elements = append(elements, element)
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return nil, decodeError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "something follows the JSON value")
	}
	return elements, nil
}

// malformed tells what is wrong with a body that is no JSON.
func malformed(c echo.Context, body []byte) error {
	if _, err := items(c, body); err != nil {
		return err
	}
	return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "an item is not JSON")
}

// batchItem is an item of a batch of commands: its JSON. nil: the item is a plain registration, which has been read.
type batchItem []byte

// split appends the items of a JSON array of objects, and the plain registrations among them, of which it says the same as parseCommand.
// Some of the other items may be no JSON. ok is false for any other body, and for an array with more than MaxBatch items.
//
// The registrations point into the body: the caller must not change it.
func (r *plainRegistration) split(into []batchItem, plain []domain.RegisterInstance, body []byte) (items []batchItem, registrations []domain.RegisterInstance, ok bool) {
	valid := utf8.Valid(body)
	rest := bytes.Trim(body, jsonSpace)
	if len(rest) == 0 || rest[0] != '[' {
		return into, plain, false
	}
	for rest = rest[1:]; len(into) < MaxBatch; {
		rest = bytes.TrimLeft(rest, jsonSpace)
		var item batchItem
		end := -1
		if valid {
			plain = append(plain, domain.RegisterInstance{})
			if end = r.item(&plain[len(plain)-1], rest); end < 0 {
				plain = plain[:len(plain)-1]
			}
		}
		if end < 0 {
			if end = objectEnd(rest); end < 0 {
				return into, plain, false
			}
			item = rest[:end:end]
		}
		into = append(into, item)
		rest = bytes.TrimLeft(rest[end:], jsonSpace)
		switch {
		case len(rest) == 0:
			return into, plain, false
		case rest[0] == ']':
			return into, plain, len(rest) == 1
		case rest[0] != ',':
			return into, plain, false
		}
		rest = rest[1:]
	}
	return into, plain, false
}

// item reads the plain registration at the beginning of a text, and gives its length; -1: there is none. REQUIRES: the text is valid UTF-8.
func (r *plainRegistration) item(into *domain.RegisterInstance, text []byte) (length int) {
	r.next()
	rest, ok := r.object(unsafe.String(unsafe.SliceData(text), len(text)), true)
	if length = len(text) - len(rest); !ok || length > MaxBody {
		return -1
	}
	if r.register(into, r.key()) != nil {
		return -1
	}
	return length
}

const jsonSpace = " \t\r\n"

// objectEnd is the length of the object at the beginning; -1: there is none. It looks at brackets and strings only.
func objectEnd(b []byte) int {
	if len(b) == 0 || b[0] != '{' {
		return -1
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}

func isLines(c echo.Context) bool {
	return strings.Contains(c.Request().Header.Get(echo.HeaderContentType), "ndjson")
}
