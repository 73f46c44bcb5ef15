package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Register implements lane.Face. The HTTP server reads the bodies that are not plain, and tells what is wrong with them.
//
// INVARIANT: from the call of Do on, mine is true, as for a heartbeat.
func (f *laneFace) Register(of lane.Subject, body []byte) (reply lane.Reply, mine bool) {
	var registration domain.RegisterInstance
	if !f.readRegistration(&registration, of, body) || f.usage.Take(web.Requests) != nil {
		return lane.Reply{}, false
	}
	if f.api.commandTurns.Enter() != nil { // the server waits again, and refuses
		f.usage.GiveBack(web.Requests)
		return lane.Reply{}, false
	}
	defer f.api.commandTurns.Leave()
	before := f.api.Queries.Position()
	f.id = f.api.requestIDs.Append(f.id[:0])
	defer func() {
		if p := recover(); p != nil {
			reply = f.failed(lane.Registration, registration.Key, &web.Panic{Value: p, Stack: debug.Stack()}, f.replyWithID(0, before))
			mine = true
		}
		f.usage.Charge(web.Bytes, len(body)+len(reply.Body))
	}()
	by := f.caller
	by.RequestID = string(f.id)
	result, _ := f.api.Commands.Register(context.Background(), by, registration)
	if result.Err != nil {
		return f.failed(lane.Registration, registration.Key, result.Err, f.replyWithID(0, before)), true
	}
	return f.registered(registration.Key, result), true
}

// readRegistration reads a plain registration, if it is one that the lane may carry out.
func (f *laneFace) readRegistration(into *domain.RegisterInstance, of lane.Subject, body []byte) bool {
	texts := join(of.Service, of.ID, body) // one copy of them all
	names := len(of.Service) + len(of.ID)
	key := domain.Key{Namespace: namespaceOf(of.Namespace), Service: texts[:len(of.Service)], ID: texts[len(of.Service):names]}
	return readPlainRegistration(into, key, texts[names:]) && !f.logsRequests() && f.api.needsNoWarning(key.Namespace) && f.who.Register(into) == nil
}

// registered is the reply to a registration that was carried out, with the request id that was made last.
func (f *laneFace) registered(key domain.Key, result commands.Result) lane.Reply {
	f.body = appendResult(f.body[:0], f.api.Queries.At(result.Position), key, result)
	reply := f.replyWithID(http.StatusOK, max(result.Position, f.api.Queries.Position()))
	if result.Created {
		f.location = appendLocation(f.location[:0], key)
		reply.Status, reply.Location = http.StatusCreated, f.location
	}
	reply.Type, reply.ETag, reply.Body = echo.MIMEApplicationJSON, revisionTag(result), f.body
	return reply
}

func join(parts ...[]byte) string {
	var b strings.Builder
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	b.Grow(n)
	for _, part := range parts {
		_, _ = b.Write(part)
	}
	return b.String()
}

// readPlainRegistration reads the body of a plain registration, if it is one without mistakes.
func readPlainRegistration(into *domain.RegisterInstance, key domain.Key, body string) (ok bool) {
	plain := plainRegistrations.Get().(*plainRegistration)
	plain.next()
	ok = plain.read(body, false) && plain.register(into, key) == nil
	if len(body) <= keptText {
		plainRegistrations.Put(plain)
	}
	return ok
}

// logsRequests says whether requests are logged. The lane logs none, so the server takes the requests that are rare enough to
// be logged.
func (f *laneFace) logsRequests() bool {
	return f.api.Logger.Enabled(context.Background(), slog.LevelDebug)
}

// Heartbeats implements lane.Face. The lane takes a batch whose body is a list of names, all of the owner if there is one.
//
// INVARIANT: from the call of SendAll on, mine is true, as for a heartbeat.
func (f *laneFace) Heartbeats(namespace, body, owner []byte, minimal bool) (reply lane.Reply, mine bool) {
	of := namespaceOf(namespace)
	if f.who.Controlled() && f.who.MaySomewhere(domain.WriteInstances|domain.WriteOwn) != nil || f.logsRequests() || !f.api.needsNoWarning(of) {
		return lane.Reply{}, false
	}
	owned, err := url.QueryUnescape(string(owner))
	if err != nil {
		return lane.Reply{}, false
	}
	buffers := batchBuffersPool.Get().(*batchBuffers)
	done := func() { batchBuffersPool.Put(buffers) }
	buffers.body = append(buffers.body[:0], body...)
	if !buffers.readNames(of) || !f.enter(f.api.heartbeatTurns, web.Heartbeats) {
		done()
		return lane.Reply{}, false
	}
	defer f.api.heartbeatTurns.Leave()
	before := f.api.Queries.Position()
	defer func() {
		if p := recover(); p != nil { // the buffers are left to the garbage collector
			reply = f.failed(lane.Heartbeats, domain.Key{}, &web.Panic{Value: p, Stack: debug.Stack()}, f.reply(0, before))
			mine = true
		}
	}()
	f.usage.Charge(web.Heartbeats, max(len(buffers.refused)-1, 0)) // one is counted already
	if owner != nil {
		buffers.setOwner(owned)
	}
	buffers.keepAllowed(f.who)
	buffers.results = f.beats.SendAll(context.Background(), buffers.keys, buffers.preconditions, buffers.results[:0])
	if f.api.Limits != nil {
		f.usage.Charge(web.Requests, unknownInstances(buffers.results))
	}
	newest, err := f.api.encodeBatch(buffers, minimal)
	if err != nil {
		done()
		return f.failed(lane.Heartbeats, domain.Key{}, err, f.reply(0, before)), true
	}
	reply = f.reply(http.StatusOK, newest)
	reply.Type, reply.Body, reply.Sent = echo.MIMEApplicationJSON, buffers.reply, done
	if minimal {
		reply.Applied = wire.ReturnMinimal
	}
	if len(reply.Body) >= web.GzipFrom {
		reply.Vary = "Accept-Encoding"
	}
	return reply, true
}
