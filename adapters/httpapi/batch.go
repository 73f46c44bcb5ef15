package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// envelope is what every item of POST /v1/commands has besides its command's own fields.
type envelope struct {
	Type      string  `json:"type"` // RegisterInstance, SendHeartbeat, ReportHealth, ChangeTraffic or DeregisterInstance
	Namespace string  `json:"namespace"`
	Service   string  `json:"service"`
	ID        string  `json:"id"`
	IfMatch   *uint64 `json:"if_match"`
}

func (e envelope) key() domain.Key {
	if e.Namespace == "" {
		e.Namespace = domain.DefaultNamespace
	}
	return domain.Key{Namespace: e.Namespace, Service: e.Service, ID: e.ID}
}

// parseCommand reads one item. The fields of a command are those of its single call's body, which may be as long.
func parseCommand(item []byte) (commands.Request, error) {
	if len(item) > MaxBody {
		return commands.Request{}, &http.MaxBytesError{Limit: MaxBody}
	}
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(item, &kind); err != nil {
		return commands.Request{}, decodeError(err)
	}
	var e envelope
	var command domain.Command
	var err error
	switch kind.Type {
	case "RegisterInstance":
		var i struct {
			envelope
			registration
			IfNoneMatch string `json:"if_none_match"` // "": nothing is asked
		}
		if err = decodeStrict(item, &i); err != nil {
			break
		}
		if i.IfNoneMatch != "" && i.IfNoneMatch != "*" {
			return commands.Request{}, invalidField("if_none_match", "must be *")
		}
		e = i.envelope
		if command, err = i.command(i.key()); i.IfNoneMatch != "" {
			register := command.(domain.RegisterInstance)
			register.CreateOnly = true
			command = register
		}
	case "SendHeartbeat":
		var i struct {
			envelope
			Epoch uint64 `json:"epoch"`
			Owner string `json:"owner"`
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, domain.SendHeartbeat{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner}
	case "ReportHealth":
		var i struct {
			envelope
			healthReport
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, i.command(i.key())
	case "ChangeTraffic":
		var i struct {
			envelope
			trafficChange
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, i.command(i.key())
	case "DeregisterInstance":
		var i struct {
			envelope
			Epoch  uint64 `json:"epoch"`
			Owner  string `json:"owner"`
			Reason string `json:"reason"`
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, domain.DeregisterInstance{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Reason: i.Reason}
	default:
		return commands.Request{}, invalidField("type", "must be RegisterInstance, SendHeartbeat, ReportHealth, ChangeTraffic or DeregisterInstance")
	}
	return commands.Request{Command: command, IfMatch: e.IfMatch}, err
}

// items splits a body into its commands: one object, an array, or NDJSON. single says that it was
// one object.
func items(c echo.Context, body []byte) (items []json.RawMessage, single bool, err error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, false, problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is empty")
	case strings.Contains(c.Request().Header.Get(echo.HeaderContentType), "ndjson"):
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				if len(items) == MaxBatch {
					return nil, false, tooMany()
				}
				items = append(items, line)
			}
		}
	case body[0] == '[':
		items, err = elements[json.RawMessage](body)
	default:
		items, single = []json.RawMessage{body}, true
	}
	return items, single, err
}

func tooMany() error {
	return problem(http.StatusRequestEntityTooLarge, "too-many", "The batch is too long", fmt.Sprintf("a batch has at most %d items", MaxBatch))
}

// elements reads a body that is a JSON array. It reads no further than a batch may be long: a body of two
// million zeros costs no more than the limit.
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

// commands carries out one command or many. Of many, each gets its own result and a bad one harms
// no other.
func (a *api) commands(c echo.Context) error {
	body, err := readBody(c, MaxBatchBody)
	if err != nil {
		return err
	}
	items, single, err := items(c, body)
	if err != nil {
		return err
	}
	if single {
		return a.oneCommand(c, items[0])
	}
	refused := make([]error, len(items))
	requests := make([]commands.Request, 0, len(items))
	for i, item := range items {
		request, err := parseCommand(item)
		if refused[i] = err; err == nil {
			requests = append(requests, request)
		}
	}
	results := a.Commands.DoAll(c.Request().Context(), caller(c), requests)
	_, err = a.answerBatch(c, nil, refused, func(i int) domain.Key { return requests[i].Command.Instance() }, results)
	return err
}

func (a *api) oneCommand(c echo.Context, item []byte) error {
	request, err := parseCommand(item)
	if err != nil {
		return err
	}
	return a.do(c, request)
}

// answerBatch writes one result for each item, in their order: refused says which items never
// became a request, key whose instance a result is. It encodes them into b and gives it back, to be used again.
func (a *api) answerBatch(c echo.Context, b []byte, refused []error, key func(int) domain.Key, results []commands.Result) ([]byte, error) {
	b = append(slices.Grow(b, 64+128*len(refused)), `{"results":[`...)
	next, failed, newest := 0, 0, a.Queries.Position()
	for i, err := range refused {
		if i > 0 {
			b = append(b, ',')
		}
		if err == nil {
			r := results[next]
			if err = r.Err; err == nil {
				b = a.appendResult(b, key(next), r)
				newest = max(newest, r.Position)
			}
			next++
		}
		if err != nil {
			failed++
			encoded, err := json.Marshal(struct {
				Problem *wire.Problem `json:"problem"`
			}{web.ProblemOf(err)})
			if err != nil {
				return b, err
			}
			b = append(b, encoded...)
		}
	}
	a.setPosition(c, newest)
	b = fmt.Appendf(b, `],"accepted":%d,"refused":%d,"position":"%s"}`, len(refused)-failed, failed, a.Queries.At(newest))
	return b, web.AnswerJSON(c, http.StatusOK, b)
}

// heartbeats renews many leases with one commit. The body is an array of "service/id" or "namespace/service/id", or of
// objects that may say which registration each heartbeat is for.
func (a *api) heartbeats(c echo.Context) error {
	room := batchRooms.Get().(*batchRoom)
	defer batchRooms.Put(room)
	var err error
	if room.body, err = readBodyInto(room.body, c, MaxBatchBody); err != nil {
		return err
	}
	if err := room.readItems(namespace(c)); err != nil {
		return err
	}
	room.results = a.Commands.Heartbeats(caller(c)).SendAll(c.Request().Context(), room.keys, room.meant, room.results[:0])
	room.reply, err = a.answerBatch(c, room.reply[:0], room.refused, func(i int) domain.Key { return room.keys[i] }, room.results)
	return err
}

// batchRoom is what a batch of heartbeats is worked on in. It is used again: nothing of it, the names and keys
// that lie in the body above all, may be held on to.
type batchRoom struct {
	body    []byte
	names   []string
	refused []error
	keys    []domain.Key     // of the items that are not refused
	meant   []commands.Precondition // of the same items; empty where the body has names only
	results []commands.Result
	reply   []byte
}

// readItems reads what the body holds. An item that is wrong is refused by itself.
func (r *batchRoom) readItems(ns string) (err error) {
	r.refused, r.keys, r.meant = r.refused[:0], r.keys[:0], r.meant[:0]
	var plain bool
	if r.names, plain = plainStrings(r.names[:0], r.body); plain {
		r.refused, r.keys = slices.Grow(r.refused, len(r.names)), slices.Grow(r.keys, len(r.names))
		for _, name := range r.names {
			key, err := heartbeatKey(ns, name)
			if r.refused = append(r.refused, err); err == nil {
				r.keys = append(r.keys, key)
			}
		}
		return nil
	}
	r.names = nil
	if !bytes.HasPrefix(bytes.TrimLeft(r.body, " \t\r\n"), []byte{'['}) {
		var none []string
		return decodeStrict(r.body, &none) // says what is wrong
	}
	if !utf8.Valid(r.body) {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is not valid UTF-8")
	}
	items, err := elements[heartbeatItem](r.body)
	for _, item := range items {
		key, meant, err := readHeartbeat(ns, item)
		if r.refused = append(r.refused, err); err == nil {
			r.keys, r.meant = append(r.keys, key), append(r.meant, meant)
		}
	}
	return err
}

// heartbeatItem is one item of a batch of heartbeats: a name, an object, or null. A body with anything else in it is
// refused in whole.
type heartbeatItem []byte

// UnmarshalJSON keeps the item as it is.
func (i *heartbeatItem) UnmarshalJSON(b []byte) error {
	if b[0] != '"' && b[0] != '{' && b[0] != 'n' {
		return badHeartbeatItem
	}
	*i = slices.Clone(b)
	return nil
}

var badHeartbeatItem = invalidField("body", `must have items "service/id", "namespace/service/id" or objects with service and id`)

// readHeartbeat reads one item.
func readHeartbeat(ns string, item heartbeatItem) (key domain.Key, meant commands.Precondition, err error) {
	if item[0] == '{' {
		var i struct {
			Namespace string `json:"namespace"` // default: the request's
			Service   string `json:"service"`
			ID        string `json:"id"`
			Epoch     uint64 `json:"epoch"`
			Owner     string `json:"owner"`
		}
		err = decodeStrict(item, &i)
		if i.Namespace == "" {
			i.Namespace = ns
		}
		return domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}, commands.Precondition{Epoch: i.Epoch, Owner: i.Owner}, err
	}
	var name *string
	if json.Unmarshal(item, &name) != nil || name == nil {
		return key, meant, badHeartbeatItem
	}
	key, err = heartbeatKey(ns, *name)
	return key, meant, err
}

var batchRooms = sync.Pool{New: func() any { return new(batchRoom) }}

// heartbeatKey reads "service/id" or "namespace/service/id"; what the parts must be, the command says.
func heartbeatKey(ns, name string) (domain.Key, error) {
	service, id, ok := strings.Cut(name, "/")
	if ok && strings.IndexByte(id, '/') < 0 {
		return domain.Key{Namespace: ns, Service: service, ID: id}, nil
	}
	return domain.ParseKey(name)
}

// plainStrings appends what a JSON array holds of strings without escapes, which keys are. Anything else is
// left to the library, and what is longer than a batch may be.
func plainStrings(into []string, body []byte) (names []string, ok bool) {
	text := unsafe.String(unsafe.SliceData(body), len(body)) // the names are parts of the body, which stays as it is
	rest := skipSpace(text)
	if rest == "" || rest[0] != '[' {
		return nil, false
	}
	names = slices.Grow(into, min(1+strings.Count(rest, ","), MaxBatch))
	for rest = rest[1:]; ; {
		rest = skipSpace(rest)
		if rest == "" || rest[0] != '"' {
			return nil, false // an empty array, too
		}
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if b := rest[end]; b < ' ' || b >= 0x80 || b == '\\' {
				return nil, false
			}
			end++
		}
		if end == len(rest) {
			return nil, false
		}
		if len(names) == MaxBatch {
			return nil, false
		}
		names = append(names, rest[1:end])
		rest = skipSpace(rest[end+1:])
		switch {
		case rest == "":
			return nil, false
		case rest[0] == ',':
			rest = rest[1:]
		case rest[0] == ']':
			return names, skipSpace(rest[1:]) == ""
		default:
			return nil, false
		}
	}
}

// skipSpace leaves out what JSON allows between its tokens.
func skipSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}
