package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// items splits a body into its commands. A body is an array, or NDJSON.
func items(c echo.Context, body []byte) (items []json.RawMessage, err error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is empty")
	case isLines(c):
		for line := range bytes.Lines(body) {
			line = bytes.TrimSpace(line)
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

// splitArray splits a JSON array of objects into its items, of which some may be no JSON. ok is false for any other body, and for an array with more
// than MaxBatch items.
func splitArray(body []byte) (split []json.RawMessage, ok bool) {
	rest := bytes.TrimSpace(body)
	if len(rest) == 0 || rest[0] != '[' {
		return nil, false
	}
	for rest = rest[1:]; len(split) < MaxBatch; {
		rest = bytes.TrimLeft(rest, jsonSpace)
		end := objectEnd(rest)
		if end < 0 {
			return nil, false
		}
		split = append(split, rest[:end:end])
		rest = bytes.TrimLeft(rest[end:], jsonSpace)
		switch {
		case len(rest) == 0:
			return nil, false
		case rest[0] == ']':
			return split, len(rest) == 1
		case rest[0] != ',':
			return nil, false
		}
		rest = rest[1:]
	}
	return nil, false
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
