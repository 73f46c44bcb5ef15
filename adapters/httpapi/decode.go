package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// namespace is the request's ?ns=.
func namespace(c echo.Context) string {
	if ns := c.QueryParam("ns"); ns != "" {
		return ns
	}
	return domain.DefaultNamespace
}

// chosenNamespace is the request's ?ns= on a route that asks about every namespace where none is named; "": every one.
func chosenNamespace(c echo.Context) string { return queries.OneNamespace(c.QueryParam("ns")) }

// instanceKey is the key of the instance that the path names. The key may be illegal: commands check their key, and
// queries use checkedKey.
func instanceKey(c echo.Context) domain.Key {
	ns := domain.DefaultNamespace
	if c.Request().URL.RawQuery != "" {
		ns = namespace(c)
	}
	return domain.Key{Namespace: ns, Service: pathPart(c, "service"), ID: pathPart(c, "id")}
}

// pathPart is a part of the path, unescaped. The router has unescaped the path already if net/url would write the same
// escapes; otherwise the router leaves the path as the client sent it.
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

// whole refuses a path in which a part is missing (/v1/webhooks//history): the query would be one without that part, which asks about all.
func whole(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, name := range c.ParamNames() {
			if name != "*" && c.Param(name) == "" {
				return domain.InvalidField{Field: name, Rule: "must not be empty"}
			}
		}
		return next(c)
	}
}

// checkedKey is instanceKey for queries: an illegal key is an error.
func checkedKey(c echo.Context) (domain.Key, error) {
	k := instanceKey(c)
	return k, k.Validate()
}

func serviceKey(c echo.Context) (domain.ServiceKey, error) {
	k := domain.ServiceKey{Namespace: namespace(c), Service: pathPart(c, "service")}
	return k, k.Validate()
}

// readBody reads the whole body, without a turn (web.Incoming). A body of more bytes than the limit is an error.
func readBody(c echo.Context, limit int64) ([]byte, error) { return readBodyInto(nil, c, limit) }

// bodyBeginnings are buffers for the beginnings of long bodies, so that the body's own memory is taken once, when it is known that the
// client sends one.
var bodyBeginnings = sync.Pool{New: func() any { return new([bodyBeginning]byte) }}

const bodyBeginning = 64 << 10

// readBodyInto is readBody into a buffer of the caller. The result uses the buffer's memory, or new memory if the body
// does not fit.
func readBodyInto(buffer []byte, c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	// A client may announce a length that it never sends: of the length, at most 64 KiB are allocated in advance, and then at most
	// four times what has come.
	announced, step := int(max(r.ContentLength, 0)), bodyBeginning
	rest := web.Read(c, http.MaxBytesReader(c.Response(), r.Body, limit))
	defer rest.Close()
	var begin []byte
	var err error
	if announced > step && cap(buffer) < announced {
		borrowed := bodyBeginnings.Get().(*[bodyBeginning]byte)
		defer bodyBeginnings.Put(borrowed)
		n := 0
		n, err = io.ReadFull(rest, borrowed[:])
		begin, step = borrowed[:n], min(4*step, announced)
	}
	body := bytes.NewBuffer(slices.Grow(buffer[:0], min(announced, step)+bytes.MinRead))
	_, _ = body.Write(begin) // it never fails
	for err == nil && step < announced {
		_, err = io.CopyN(body, rest, int64(step-body.Len()))
		step = min(4*step, announced)
		body.Grow(step - body.Len() + bytes.MinRead)
	}
	if err == nil {
		_, err = body.ReadFrom(rest)
	}
	switch {
	case rest.Refused() != nil:
		return nil, rest.Refused()
	case err == nil:
		err = rest.Resume()
	case !errors.As(err, new(*http.MaxBytesError)):
		err = problem(http.StatusBadRequest, "incomplete-body", "The body ended early", fmt.Sprintf("the body could not be read: %v", err))
	}
	if err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// decodeBody reads the body as one JSON object into v. Fields that v does not have are refused. An empty body is
// allowed if optional is true.
func decodeBody(c echo.Context, v any, optional bool) error {
	body, err := readBody(c, MaxBody)
	if err != nil {
		return err
	}
	if optional && len(bytes.Trim(body, jsonSpace)) == 0 {
		return nil
	}
	return DecodeStrict(body, v)
}

// refuseBody refuses what a body says on a route that takes none: the owner or the epoch of a heartbeat in its body would
// protect nobody there. An empty object says nothing.
func refuseBody(c echo.Context) error {
	if c.Request().ContentLength == 0 {
		return nil
	}
	return decodeBody(c, &struct{}{}, true)
}

// bodiless refuses what a body says. It is for every DELETE, whose parameters say the reason: one in the body would be lost.
func bodiless(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := refuseBody(c); err != nil {
			return err
		}
		return next(c)
	}
}

// DecodeStrict reads JSON, as the bodies of requests are read, into v. It refuses fields that v does not have, and what encoding/json accepts: bytes that are
// not UTF-8, and what refuseMended lists.
func DecodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if wrongType := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrongType) {
			wrongType.Field = withIndexes(withoutEmbedded(wrongType.Field, reflect.TypeOf(v).Elem()), data, wrongType.Offset)
		}
		if _, unknown := unknownField(err); unknown { // the library names the field without its place
			if err := refuseMended(data, v); err != nil {
				return err
			}
		}
		if errors.As(err, new(domain.InvalidField)) {
			if err := refuseUnread(data, v); err != nil {
				return err
			}
		}
		return decodeError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "something follows the JSON value")
	}
	return refuseMended(data, v)
}

// withoutEmbedded is the path of a field of t without the names of embedded structs, which encoding/json puts before it:
// the client's document does not have them.
func withoutEmbedded(path string, t reflect.Type) string {
	for t.Kind() == reflect.Struct {
		first, rest, ok := strings.Cut(path, ".")
		f, named := t.FieldByName(first)
		if !ok || !named || !f.Anonymous {
			break
		}
		path, t = rest, f.Type
	}
	return path
}

// decodeError turns an error of encoding/json into an error that names the field of the client's document.
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
	if name, unknown := unknownField(err); unknown {
		return invalidField(name, ruleUnknown)
	}
	return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", err.Error())
}

// unknownField is the name of the field that an error of encoding/json is about. The library has no error type for that.
func unknownField(err error) (name string, unknown bool) {
	quoted, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !unknown {
		return "", false
	}
	name, unquoteErr := strconv.Unquote(quoted)
	if unquoteErr != nil {
		name = quoted
	}
	return name, true
}

func typeName(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); {
	case e.Type == durationType, e.Type == reflect.TypeFor[duration]():
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

// withPreconditions adds the preconditions of the headers to a request. If-Match names the revision that the instance
// must have, or "*": the instance must be live. If-None-Match "*" is for registrations: no instance may be live.
func withPreconditions(c echo.Context, request commands.Request) (commands.Request, error) {
	h := c.Request().Header
	switch match := h.Values("If-Match"); {
	case len(match) == 0:
	case len(match) == 1 && match[0] == "*":
		request.IfLive = true
	default:
		tag := match[0]
		if inner, quoted := strings.CutPrefix(tag, `"`); quoted && strings.HasSuffix(inner, `"`) {
			tag = strings.TrimSuffix(inner, `"`)
		}
		revision, err := queries.ParseWhole(tag)
		if err != nil || len(match) > 1 {
			return request, invalidField("If-Match", `must be one revision, e.g. "3", or *`)
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
	var err error
	request.Once, err = onceKey(c)
	return request, err
}

// queryPrecondition reads the parameters epoch and owner. An empty parameter is refused: a script whose variable is not
// set must not lose the precondition that protects the successor.
func queryPrecondition(c echo.Context) (p commands.Precondition, err error) {
	if c.Request().URL.RawQuery == "" {
		return p, nil
	}
	query := c.QueryParams()
	if query.Has("epoch") {
		if p.Epoch, err = queries.ParseWhole(query.Get("epoch")); err != nil {
			return p, invalidField("epoch", "must be a whole number, not negative")
		}
	}
	p.Owner = query.Get("owner")
	if query.Has("owner") && p.Owner == "" {
		return p, invalidField("owner", "must not be empty")
	}
	return p, nil
}
