package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
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
		revision, err := queries.ParseWhole(*e.IfMatch)
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
		if err = DecodeStrict(item, &i); err != nil {
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
		err = DecodeStrict(item, &i)
		e, command = i.envelope, domain.SendHeartbeat{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner}
	case "ReportHealth":
		var i struct {
			envelope
			healthReport
		}
		err = DecodeStrict(item, &i)
		e, command = i.envelope, i.command(i.key())
	case "ChangeTraffic":
		var i struct {
			envelope
			trafficChange
		}
		err = DecodeStrict(item, &i)
		e, command = i.envelope, i.command(i.key())
	case "DeregisterInstance":
		var i struct {
			envelope
			Epoch  uint64 `json:"epoch"`
			Owner  string `json:"owner"`
			Reason string `json:"reason"`
			Force  bool   `json:"force"`
		}
		err = DecodeStrict(item, &i)
		e, command = i.envelope, domain.DeregisterInstance{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Reason: i.Reason, Force: i.Force}
	case "AddCheck":
		var i struct {
			envelope
			Check check  `json:"check"`
			Epoch uint64 `json:"epoch"`
			Owner string `json:"owner"`
		}
		if err = DecodeStrict(item, &i); err != nil {
			break
		}
		var definition domain.Check
		if definition, err = i.Check.definition("check."); err == nil {
			err = definition.Normalize().Validate("check.") // the command would name the field as its own route does
		}
		e, command = i.envelope, domain.AddCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: definition}
	case "RemoveCheck":
		var i struct {
			envelope
			Check string `json:"check"`
			Epoch uint64 `json:"epoch"`
			Owner string `json:"owner"`
		}
		err = DecodeStrict(item, &i)
		e, command = i.envelope, domain.RemoveCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: i.Check}
	case "ReportCheck":
		var i struct {
			envelope
			Check  string        `json:"check"`
			Status domain.Status `json:"status"`
			checkReport
		}
		err = DecodeStrict(item, &i)
		e, command = i.envelope, domain.ReportCheck{Key: i.key(), Epoch: i.Epoch, Owner: i.Owner, Check: i.Check, Status: i.Status, Output: i.Output}
	default:
		return commands.Request{}, invalidField("type", "must be RegisterInstance, SendHeartbeat, ReportHealth, ChangeTraffic, DeregisterInstance, AddCheck, RemoveCheck or ReportCheck")
	}
	if err != nil {
		return commands.Request{}, err
	}
	return e.precondition(commands.Request{Command: command})
}

// commandBatch holds a batch of commands from the request's body to the reply. A pool keeps it for later requests.
//
// INVARIANT: the handler owns the batch from Get to end. Nothing of a batch in the pool points to a command or to a body. The body of a
// batch is used again only if its items are plain registrations, of which commands keeps nothing (RegisterAll).
type commandBatch struct {
	body          []byte
	items         []batchItem
	refused       []error                   // one for each item; nil: the item is not refused
	registrations []domain.RegisterInstance // those of the items that are plain registrations
	plain         bool                      // all items are
	requests      []commands.Request        // of the items that are not refused, unless plain; then registrations has theirs
	results       []commands.Result
}

var commandBatches = sync.Pool{New: func() any { return new(commandBatch) }}

// keptBody is the largest body that is kept for later requests.
const keptBody = 1 << 20

func (b *commandBatch) end() {
	clear(b.items)
	clear(b.refused)
	clear(b.registrations)
	clear(b.requests)
	clear(b.results)
	b.items, b.refused, b.registrations, b.requests, b.results = b.items[:0], b.refused[:0], b.registrations[:0], b.requests[:0], b.results[:0]
	if cap(b.body) > keptBody {
		b.body = nil
	}
	commandBatches.Put(b)
}

// read reads the commands of a body that the caller may give. An item that is wrong is refused by itself.
func (b *commandBatch) read(c echo.Context, body []byte) (err error) {
	var plain plainRegistration // its last values point into the body
	array := false
	if !isLines(c) {
		b.items, b.registrations, array = plain.split(b.items, b.registrations, body)
	}
	if !array {
		var split []json.RawMessage
		if split, err = items(c, body); err != nil {
			return err
		}
		b.items, b.registrations = b.items[:0], b.registrations[:0]
		for _, item := range split {
			b.items = append(b.items, batchItem(item))
		}
	}
	once, err := onceKey(c)
	if err != nil {
		return err
	}
	b.refused = slices.Grow(b.refused, len(b.items))
	who := web.IdentityOf(c)
	if b.plain = once == "" && len(b.registrations) == len(b.items); b.plain {
		b.keepAllowed(who)
	} else if err := b.readRequests(c, body, array, once); err != nil {
		return err
	}
	web.Charge(c, web.Requests, max(len(b.items)-1, 0)) // one is counted already
	return nil
}

// keepAllowed refuses the registrations that the caller may not give.
func (b *commandBatch) keepAllowed(who *web.Identity) {
	kept := 0
	for i := range b.registrations {
		err := who.Register(&b.registrations[i])
		b.refused = append(b.refused, err)
		if err == nil {
			if kept < i {
				b.registrations[kept] = b.registrations[i]
			}
			kept++
		}
	}
	clear(b.registrations[kept:])
	b.registrations = b.registrations[:kept]
}

// readRequests makes the items requests.
func (b *commandBatch) readRequests(c echo.Context, body []byte, array bool, once string) error {
	who := web.IdentityOf(c)
	b.requests = slices.Grow(b.requests, len(b.items))
	plain := 0
	for i, item := range b.items {
		var request commands.Request
		var refused error
		if item == nil {
			request.Command = b.registrations[plain]
			plain++
		} else {
			if array && !json.Valid(item) {
				return malformed(c, body)
			}
			request, refused = parseCommand(item)
		}
		if refused == nil {
			request.Command, refused = who.Command(request.Command)
		}
		if refused == nil {
			if once != "" {
				request.Once = once + "/" + strconv.Itoa(i)
			}
			b.requests = append(b.requests, request)
		}
		b.refused = append(b.refused, refused)
	}
	return nil
}

// appendKey appends the fields of the instance of a result.
func (b *commandBatch) appendKey(into []byte, result int) []byte {
	if b.plain {
		return appendKey(into, &b.registrations[result].Key)
	}
	key := b.requests[result].Command.Instance()
	return appendKey(into, &key)
}

// commands carries out a batch of commands. Each command gets a result of its own: a command that is refused does not
// affect the other commands.
func (a *api) commands(c echo.Context) error {
	batch := commandBatches.Get().(*commandBatch)
	body, err := readBodyInto(batch.body, c, MaxBatchBody)
	batch.body = nil // commands may keep parts of it
	defer batch.end()
	if err != nil {
		return err
	}
	if err := batch.read(c, body); err != nil {
		return err
	}
	if !batch.plain {
		batch.results = a.Commands.DoAllInto(c.Request().Context(), batch.results, caller(c), batch.requests)
		return a.answerBatch(c, batch.refused, batch.appendKey, batch.results)
	}
	var kept bool
	batch.results, kept = a.Commands.RegisterAll(c.Request().Context(), batch.results, caller(c), batch.registrations)
	err = a.answerBatch(c, batch.refused, batch.appendKey, batch.results)
	if !kept {
		batch.body = body[:0]
	}
	return err
}

// answerBatch answers a batch with appendBatch.
func (a *api) answerBatch(c echo.Context, refused []error, key func([]byte, int) []byte, results []commands.Result) error {
	buffers := batchBuffersPool.Get().(*batchBuffers)
	defer batchBuffersPool.Put(buffers)
	var newest eventstore.Position
	var err error
	if buffers.reply, newest, err = a.appendBatch(buffers.reply[:0], web.Minimal(c), refused, key, results); err != nil {
		return err
	}
	a.setPosition(c, newest)
	return web.AnswerJSON(c, http.StatusOK, buffers.reply)
}

// appendBatch appends the reply to a batch: which items succeeded and which failed, each with its index, in the order of
// the items. refused has an error for each item that was not carried out, nil for any other item. results are those of the
// other items, in order, and key appends the fields of the instance of a result. A minimal reply has the number of those that succeeded in
// place of their list. newest is the position of the reply.
func (a *api) appendBatch(b []byte, minimal bool, refused []error, key func([]byte, int) []byte, results []commands.Result) (_ []byte, newest eventstore.Position, err error) {
	if !minimal {
		b = slices.Grow(b, 64+144*len(refused))
	}
	b = append(b, `{"succeeded":[`...)
	none := len(b)
	next, newest, failures := 0, a.Queries.Position(), []wire.BatchFailure{}
	timelines := a.Queries.Timelines()
	for i, err := range refused {
		if err == nil {
			r := &results[next]
			err = r.Err
			if err == nil {
				newest = max(newest, r.Position)
			}
			if err == nil && !minimal {
				if len(b) > none {
					b = append(b, ',')
				}
				b = append(b, `{"index":`...)
				b = append(strconv.AppendInt(b, int64(i), 10), ',')
				at := wire.Position{Timeline: timelines.Of(r.Position), Number: r.Position}
				b = appendOutcome(key(b, next), at, r)
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
	if omitted := len(refused) - len(failures); minimal && omitted > 0 {
		b = strconv.AppendInt(append(b, `,"omitted":`...), int64(omitted), 10)
	}
	return append(a.Queries.At(newest).Append(append(b, `,"position":"`...)), `"}`...), newest, nil
}
