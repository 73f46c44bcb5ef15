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

	"github.com/rollcall-registry/rollcall/commands"
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

// pathPart is a part of the path, unescaped: the router leaves it as it was sent, unless the escapes are those that
// the library would write itself. Then it is unescaped already.
func pathPart(c echo.Context, name string) string {
	part := c.Param(name)
	if c.Request().URL.RawPath == "" || strings.IndexByte(part, '%') < 0 {
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

// decodeStrict refuses what the library would mend: bytes that are not UTF-8, and null where a value must be.
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
	return refuseNull(data, v)
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

// withPreconditions adds what the headers ask of the instance to a request: If-Match names the revision that it must
// have, or "*" that it must be live; If-None-Match "*" of a registration that nothing may be live.
func withPreconditions(c echo.Context, request commands.Request) (commands.Request, error) {
	h := c.Request().Header
	switch match := h.Get("If-Match"); match {
	case "":
	case "*":
		request.IfLive = true
	default:
		revision, err := strconv.ParseUint(strings.Trim(match, `"`), 10, 64)
		if err != nil {
			return request, invalidField("If-Match", `must be a revision, e.g. "3", or *`)
		}
		request.IfMatch = &revision
	}
	if values := h.Values("If-None-Match"); len(values) > 0 {
		register, registers := request.Command.(domain.RegisterInstance)
		switch {
		case !registers:
			return request, invalidField("If-None-Match", "must be left out: only a registration may have it")
		case len(values) > 1 || values[0] != "*":
			return request, invalidField("If-None-Match", "must be *")
		}
		register.CreateOnly = true
		request.Command = register
	}
	return request, nil
}

// queryPrecondition is which registration the query says that a command is for. An empty parameter is refused: a script whose
// variable is not set must not lose what protects the successor.
func queryPrecondition(c echo.Context) (meant commands.Precondition, err error) {
	if c.Request().URL.RawQuery == "" {
		return meant, nil
	}
	query := c.QueryParams()
	if query.Has("epoch") {
		if meant.Epoch, err = strconv.ParseUint(query.Get("epoch"), 10, 64); err != nil {
			return meant, invalidField("epoch", "must be a whole number, not negative")
		}
	}
	if meant.Owner = query.Get("owner"); query.Has("owner") && meant.Owner == "" {
		return meant, invalidField("owner", "must not be empty")
	}
	return meant, nil
}
