package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// envelope has the fields that every item of POST /v1/commands has, whatever its command.
type envelope struct {
	Type      string  `json:"type"` // one of those that parseCommand knows
	Namespace string  `json:"namespace"`
	Service   string  `json:"service"`
	ID        string  `json:"id"`
	IfMatch   *string `json:"if_match"` // a revision, or "*": the instance must be live
}

// precondition reads if_match. It is text, as the header If-Match is: 0, which generated clients send for a number that
// was left out, is a revision.
func (e envelope) precondition(request commands.Request) (commands.Request, error) {
	switch {
	case e.IfMatch == nil:
	case *e.IfMatch == "*":
		request.IfLive = true
	default:
		revision, err := strconv.ParseUint(*e.IfMatch, 10, 64)
		if err != nil {
			return request, invalidField("if_match", `must be a revision, e.g. "3", or *`)
		}
		request.IfMatch = &revision
	}
	return request, nil
}

func (e envelope) key() domain.Key {
	if e.Namespace == "" {
		e.Namespace = domain.DefaultNamespace
	}
	return domain.Key{Namespace: e.Namespace, Service: e.Service, ID: e.ID}
}

// parseCommand reads one item of a batch. The item has the fields of the body of the command's own route, and the same
// limit of bytes.
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
			IfNoneMatch string `json:"if_none_match"` // "": no precondition
		}
		if err = decodeStrict(item, &i); err != nil {
			break
		}
		if i.IfNoneMatch != "" && i.IfNoneMatch != "*" {
			return commands.Request{}, invalidField("if_none_match", "must be *")
		}
		e = i.envelope
		command, err = i.command(i.key())
		if i.IfNoneMatch != "" {
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
			Force  bool   `json:"force"`
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, domain.DeregisterInstance{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Reason: i.Reason, Force: i.Force}
	case "AddCheck":
		var i struct {
			envelope
			Check check  `json:"check"`
			Epoch uint64 `json:"epoch"`
			Owner string `json:"owner"`
		}
		if err = decodeStrict(item, &i); err != nil {
			break
		}
		var definition domain.Check
		definition, err = i.Check.definition("check.")
		e, command = i.envelope, domain.AddCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: definition}
	case "RemoveCheck":
		var i struct {
			envelope
			Check string `json:"check"`
			Epoch uint64 `json:"epoch"`
			Owner string `json:"owner"`
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, domain.RemoveCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: i.Check}
	case "ReportCheck":
		var i struct {
			envelope
			Check  string        `json:"check"`
			Status domain.Status `json:"status"`
			checkReport
		}
		err = decodeStrict(item, &i)
		e, command = i.envelope, domain.ReportCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: i.Check, Status: i.Status, Output: i.Output}
	default:
		return commands.Request{}, invalidField("type", "must be RegisterInstance, SendHeartbeat, ReportHealth, ChangeTraffic, DeregisterInstance, AddCheck, RemoveCheck or ReportCheck")
	}
	if err != nil {
		return commands.Request{}, err
	}
	return e.precondition(commands.Request{Command: command})
}

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

// readCommands reads the commands of a body that the caller may give. refused has an error for each item that is wrong, nil
// for each that is not.
func readCommands(c echo.Context, body []byte) (requests []commands.Request, refused []error, err error) {
	var split []json.RawMessage
	ok := false
	if !isLines(c) {
		split, ok = splitArray(body)
	}
	if !ok {
		if split, err = items(c, body); err != nil {
			return nil, nil, err
		}
	}
	who := web.IdentityOf(c)
	requests, refused = make([]commands.Request, 0, len(split)), make([]error, len(split))
	for i, item := range split {
		request, plain := plainItem(item)
		if !plain {
			if ok && !json.Valid(item) {
				return nil, nil, malformed(c, body)
			}
			request, refused[i] = parseCommand(item)
		}
		if refused[i] == nil {
			request.Command, refused[i] = who.Command(request.Command)
		}
		if refused[i] == nil {
			requests = append(requests, request)
		}
	}
	web.Charge(c, web.Requests, max(len(split)-1, 0)) // one is counted already
	return requests, refused, nil
}

// malformed tells what is wrong with a body that is no JSON.
func malformed(c echo.Context, body []byte) error {
	if _, err := items(c, body); err != nil {
		return err
	}
	return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "an item is not JSON")
}

// plainItem reads an item that is a plain registration. It says the same of the item as parseCommand.
func plainItem(item []byte) (request commands.Request, plain bool) {
	var r plainRegistration
	if len(item) > MaxBody || !r.read(string(item), true) {
		return request, false
	}
	command, err := r.command(r.key())
	return commands.Request{Command: command}, err == nil
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

// commands carries out a batch of commands. Each command gets a result of its own: a command that is refused does not
// affect the other commands.
func (a *api) commands(c echo.Context) error {
	body, err := readBody(c, MaxBatchBody)
	if err != nil {
		return err
	}
	requests, refused, err := readCommands(c, body)
	if err != nil {
		return err
	}
	results := a.Commands.DoAll(c.Request().Context(), caller(c), requests)
	return a.answerBatch(c, refused, func(i int) domain.Key { return requests[i].Command.Instance() }, results)
}

// answerBatch answers a batch with appendBatch.
func (a *api) answerBatch(c echo.Context, refused []error, key func(int) domain.Key, results []commands.Result) error {
	body, newest, err := a.appendBatch(nil, refused, key, results)
	if err != nil {
		return err
	}
	a.setPosition(c, newest)
	return web.AnswerJSON(c, http.StatusOK, body)
}

// appendBatch appends the reply to a batch: which items succeeded and which failed, each with its index, in the order of
// the items. refused has an error for each item that was not carried out, nil for any other item. results are those of the
// other items, in order, and key gives the instance of a result. newest is the position of the reply.
func (a *api) appendBatch(b []byte, refused []error, key func(int) domain.Key, results []commands.Result) (_ []byte, newest eventstore.Position, err error) {
	b = append(slices.Grow(b, 64+144*len(refused)), `{"succeeded":[`...)
	none := len(b)
	next, newest, failures := 0, a.Queries.Position(), []wire.BatchFailure{}
	timelines := a.Queries.Timelines()
	for i, err := range refused {
		if err == nil {
			r := results[next]
			err = r.Err
			if err == nil {
				if len(b) > none {
					b = append(b, ',')
				}
				b = append(b, `{"index":`...)
				b = append(strconv.AppendInt(b, int64(i), 10), ',')
				at := wire.Position{Timeline: timelines.Of(r.Position), Number: r.Position}
				b = appendFields(b, at, key(next), r)
				newest = max(newest, r.Position)
			}
			next++
		}
		if err != nil {
			failures = append(failures, wire.BatchFailure{Index: i, Problem: *web.ProblemOf(err)})
		}
	}
	failed, err := json.Marshal(failures)
	if err != nil {
		return b, newest, err
	}
	b = append(append(b, `],"failed":`...), failed...)
	return append(a.Queries.At(newest).Append(append(b, `,"position":"`...)), `"}`...), newest, nil
}

// encodeBatch encodes the reply to a batch of heartbeats into its buffer.
func (a *api) encodeBatch(b *batchBuffers) (newest eventstore.Position, err error) {
	b.reply, newest, err = a.appendBatch(b.reply[:0], b.refused, func(i int) domain.Key { return b.keys[i] }, b.results)
	return newest, err
}

// heartbeats renews many leases with one commit. The body is an array of "service/id" or "namespace/service/id", or of
// objects with the preconditions of each heartbeat.
func (a *api) heartbeats(c echo.Context) error {
	buffers := batchBuffersPool.Get().(*batchBuffers)
	defer batchBuffersPool.Put(buffers)
	var err error
	if buffers.body, err = readBodyInto(buffers.body, c, MaxBatchBody); err != nil {
		return err
	}
	if err := buffers.readItems(namespace(c)); err != nil {
		return err
	}
	if c.QueryParams().Has("owner") {
		owner := c.QueryParam("owner")
		if owner == "" {
			return invalidField("owner", "must not be empty")
		}
		buffers.setOwner(owner)
	}
	web.Charge(c, web.Heartbeats, max(len(buffers.refused)-1, 0)) // one is counted already
	buffers.keepAllowed(web.IdentityOf(c))
	buffers.results = a.Commands.Heartbeats(caller(c)).SendAll(c.Request().Context(), buffers.keys, buffers.preconditions, buffers.results[:0])
	if a.Limits != nil {
		web.Charge(c, web.Requests, unknownInstances(buffers.results))
	}
	newest, err := a.encodeBatch(buffers)
	if err != nil {
		return err
	}
	a.setPosition(c, newest)
	return web.AnswerJSON(c, http.StatusOK, buffers.reply)
}

// unknownInstances counts the heartbeats of instances that are not registered: the generous limit is not for those.
func unknownInstances(results []commands.Result) (n int) {
	for _, r := range results {
		if errors.As(r.Err, new(domain.UnknownInstance)) {
			n++
		}
	}
	return n
}

// batchBuffers hold a batch of heartbeats from the request's body to the reply. A pool keeps them for later requests.
//
// INVARIANT: the handler owns the buffers from Get to Put. It puts them back after the reply is written. names and keys
// point into body, so no code may keep a name, a key or a result of a batch after the handler has returned: the next
// request overwrites the body. The catalog and the event store keep no key of a heartbeat; an error that names a key
// is encoded into the reply before Put.
type batchBuffers struct {
	body          []byte
	names         []string
	refused       []error                 // one for each item; nil: the item is not refused
	keys          []domain.Key            // of the items that are not refused
	preconditions []commands.Precondition // of the same items; empty if the body has names only
	results       []commands.Result
	reply         []byte
}

var batchBuffersPool = sync.Pool{New: func() any { return new(batchBuffers) }}

// readItems reads the items of the body. A wrong item is refused, and the other items are kept.
func (b *batchBuffers) readItems(ns string) (err error) {
	if b.readNames(ns) {
		return nil
	}
	b.names = nil
	if !bytes.HasPrefix(bytes.TrimLeft(b.body, " \t\r\n"), []byte{'['}) {
		var none []string
		return decodeStrict(b.body, &none) // the body is no array: the error says what the body is
	}
	if !utf8.Valid(b.body) {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is not valid UTF-8")
	}
	items, err := elements[heartbeatItem](b.body)
	for _, item := range items {
		key, precondition, err := readHeartbeat(ns, item)
		b.refused = append(b.refused, err)
		if err == nil {
			b.keys, b.preconditions = append(b.keys, key), append(b.preconditions, precondition)
		}
	}
	return err
}

// readNames reads the items of a body that is a plain list of names. A wrong name is refused. false: the body is another.
func (b *batchBuffers) readNames(ns string) (plain bool) {
	b.refused, b.keys, b.preconditions = b.refused[:0], b.keys[:0], b.preconditions[:0]
	if b.names, plain = plainStrings(b.names[:0], b.body); !plain {
		return false
	}
	b.refused, b.keys = slices.Grow(b.refused, len(b.names)), slices.Grow(b.keys, len(b.names))
	for _, name := range b.names {
		key, err := heartbeatKey(ns, name)
		b.refused = append(b.refused, err)
		if err == nil {
			b.keys = append(b.keys, key)
		}
	}
	return true
}

// setOwner names the owner of the items that name none. A process names its owner once for all its instances.
func (b *batchBuffers) setOwner(owner string) {
	b.needPreconditions()
	for i := range b.preconditions {
		if b.preconditions[i].Owner == "" {
			b.preconditions[i].Owner = owner
		}
	}
}

// needPreconditions gives a body of names its preconditions, all without a condition.
func (b *batchBuffers) needPreconditions() {
	if len(b.preconditions) == 0 {
		b.preconditions = slices.Grow(b.preconditions, len(b.keys))[:len(b.keys)]
		clear(b.preconditions)
	}
}

// keepAllowed refuses the items that the caller may not renew, and binds those that the caller may renew only as its own.
func (b *batchBuffers) keepAllowed(who *web.Identity) {
	if !who.Controlled() {
		return
	}
	b.needPreconditions()
	item, kept := 0, 0 // the item of a key; keys that stay
	for i, key := range b.keys {
		for b.refused[item] != nil {
			item++
		}
		holder, err := who.Holder(domain.WriteInstances, key)
		if err == nil {
			b.keys[kept], b.preconditions[kept] = key, b.preconditions[i]
			b.preconditions[kept].Holder = holder
			kept++
		}
		b.refused[item] = err
		item++
	}
	b.keys, b.preconditions = b.keys[:kept], b.preconditions[:kept]
}

// heartbeatItem is the JSON of one item of a batch of heartbeats: a name, an object, or null. A body with an item of
// another kind is refused as a whole.
type heartbeatItem []byte

// UnmarshalJSON keeps the item's JSON.
func (i *heartbeatItem) UnmarshalJSON(b []byte) error {
	if b[0] != '"' && b[0] != '{' && b[0] != 'n' {
		return badHeartbeatItem
	}
	*i = slices.Clone(b)
	return nil
}

var badHeartbeatItem = invalidField("body", `must have items "service/id", "namespace/service/id" or objects with service and id`)

// readHeartbeat reads one item. ns is the namespace of an item that names none.
func readHeartbeat(ns string, item heartbeatItem) (key domain.Key, precondition commands.Precondition, err error) {
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
		return key, precondition, badHeartbeatItem
	}
	key, err = heartbeatKey(ns, *name)
	return key, precondition, err
}

// heartbeatKey reads "service/id" or "namespace/service/id". The command checks the parts.
func heartbeatKey(ns, name string) (domain.Key, error) {
	service, id, ok := strings.Cut(name, "/")
	if ok && strings.IndexByte(id, '/') < 0 {
		return domain.Key{Namespace: ns, Service: service, ID: id}, nil
	}
	return domain.ParseKey(name)
}

// plainStrings appends the strings of a JSON array of strings without escapes. ok is false for any other body, and for
// an array with more than MaxBatch strings: then the JSON library must read the body.
//
// The strings point into body: the caller must not change body while a string is in use.
func plainStrings(into []string, body []byte) (names []string, ok bool) {
	text := unsafe.String(unsafe.SliceData(body), len(body))
	rest := skipSpace(text)
	if rest == "" || rest[0] != '[' {
		return nil, false
	}
	names = slices.Grow(into, min(1+strings.Count(rest, ","), MaxBatch))
	for rest = rest[1:]; ; {
		rest = skipSpace(rest)
		if rest == "" || rest[0] != '"' {
			return nil, false // also an empty array
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

// skipSpace returns s without the white space at its beginning that JSON allows between tokens.
func skipSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}
