package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
)

// namespace is the request's ?ns=.
func namespace(c echo.Context) string {
	if ns := c.QueryParam("ns"); ns != "" {
		return ns
	}
	return domain.DefaultNamespace
}

// instanceKey is the instance that the path names. Commands check it; a query asks checkedKey.
func instanceKey(c echo.Context) domain.Key {
	ns := domain.DefaultNamespace
	if c.Request().URL.RawQuery != "" {
		ns = namespace(c)
	}
	return domain.Key{Namespace: ns, Service: pathPart(c, "service"), ID: pathPart(c, "id")}
}

// pathPart is a part of the path, unescaped: the router leaves it as it was sent.
func pathPart(c echo.Context, name string) string {
	part := c.Param(name)
	if strings.IndexByte(part, '%') < 0 {
		return part
	}
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

func checkedKey(c echo.Context) (domain.Key, error) {
	k := instanceKey(c)
	return k, k.Validate()
}

func serviceKey(c echo.Context) (domain.ServiceKey, error) {
	k := domain.ServiceKey{Namespace: namespace(c), Service: pathPart(c, "service")}
	return k, k.Validate()
}

// readBody takes the body whole, up to a limit.
func readBody(c echo.Context, limit int64) ([]byte, error) { return readBodyInto(nil, c, limit) }

// readBodyInto is readBody into memory that may be used again.
func readBodyInto(memory []byte, c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	room := min(max(r.ContentLength, 0), 64<<10) + bytes.MinRead // a promise of more is believed when it comes
	body := bytes.NewBuffer(slices.Grow(memory[:0], int(room)))
	_, err := body.ReadFrom(http.MaxBytesReader(c.Response(), r.Body, limit))
	if err != nil && !errors.As(err, new(*http.MaxBytesError)) {
		return nil, problem(http.StatusBadRequest, "incomplete-body", "The body ended early", fmt.Sprintf("the body could not be read: %v", err))
	}
	return body.Bytes(), err
}

// decodeBody reads the body as one JSON object into v, and refuses fields that v does not have. An
// empty body is allowed where optional.
func decodeBody(c echo.Context, v any, optional bool) error {
	body, err := readBody(c, MaxBody)
	if err != nil {
		return err
	}
	if optional && len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	return decodeStrict(body, v)
}

// decodeStrict refuses what the library would mend: bytes that are not UTF-8.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "something follows the JSON value")
	}
	return nil
}

// decodeError says what is wrong in terms of the client's document.
func decodeError(err error) error {
	var wrongType *json.UnmarshalTypeError
	var malformed *json.SyntaxError
	switch {
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "body"
		}
		return invalidField(field, "must be "+typeName(wrongType))
	case errors.As(err, new(domain.InvalidField)), errors.As(err, &malformed):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the JSON ends early")
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // the library has no type for it
		name, unquoteErr := strconv.Unquote(field)
		if unquoteErr != nil {
			name = field
		}
		return invalidField(name, "is not a known field")
	}
	return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", err.Error())
}

func typeName(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); {
	case e.Type == durationType:
		return `a duration such as "30s" or "5m"`
	case kind == "uint16":
		return "a whole number from 0 to 65535"
	case strings.HasPrefix(kind, "uint"), strings.HasPrefix(kind, "int"):
		return "a whole number, not negative"
	case kind == "slice":
		return "an array"
	case kind == "map", kind == "struct":
		return "an object"
	case kind == "bool":
		return "true or false"
	}
	return "a string"
}

// ifMatch is the request's If-Match: the revision that the instance must have.
func ifMatch(c echo.Context) (*uint64, error) {
	h := c.Request().Header.Get("If-Match")
	if h == "" || h == "*" {
		return nil, nil
	}
	revision, err := strconv.ParseUint(strings.Trim(h, `"`), 10, 64)
	if err != nil {
		return nil, invalidField("If-Match", `must be a revision, e.g. "3"`)
	}
	return &revision, nil
}

func queryEpoch(c echo.Context) (uint64, error) {
	s := c.QueryParam("epoch")
	if s == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, invalidField("epoch", "must be a whole number, not negative")
	}
	return epoch, nil
}
