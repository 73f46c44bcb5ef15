package httpapi

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// laneFace answers one connection's plain heartbeats and lookups as the routes do, byte for byte.
type laneFace struct {
	api   *api
	beats *commands.Heartbeats

	// What replies point to. It is used again with the next request.
	position, id, body []byte
}

func (a *api) laneFace(client net.Addr) lane.Face {
	return &laneFace{api: a, beats: a.Commands.Heartbeats(commands.Caller{Actor: domain.Anonymous, Source: sourceOf(client.String()), Via: viaHTTP})}
}

// observeLane tells the observer of the lane's replies under the routes that they belong to.
func observeLane(observer web.Observer) func(heartbeat bool, status int, took time.Duration) {
	if observer == nil {
		return nil
	}
	const beat, list = "/v1/services/:service/instances/:id/heartbeat", "/v1/services/:service/instances"
	renewed, listed := observer.Series(http.MethodPut, beat, http.StatusOK), observer.Series(http.MethodGet, list, http.StatusOK)
	unchanged := observer.Series(http.MethodGet, list, http.StatusNotModified)
	return func(heartbeat bool, status int, took time.Duration) {
		switch {
		case heartbeat && status == http.StatusOK:
			renewed(took)
		case heartbeat:
			observer.Replied(http.MethodPut, beat, status, took)
		case status == http.StatusOK:
			listed(took)
		default:
			unchanged(took)
		}
	}
}

// Heartbeat implements lane.Face. Overload and warnings are left to the server. A heartbeat that was begun is
// answered here, whatever became of it.
func (f *laneFace) Heartbeat(service, id []byte) (reply lane.Reply, mine bool) {
	if !f.api.needsNoWarning() || !f.api.heartbeatTurns.TryEnter() {
		return lane.Reply{}, false
	}
	defer f.api.heartbeatTurns.Leave()
	key := domain.Key{Namespace: domain.DefaultNamespace, Service: string(service), ID: string(id)}
	before := f.api.Queries.Position()
	defer func() {
		if p := recover(); p != nil {
			reply = f.failed(key, &web.Panic{Value: p, Stack: debug.Stack()}, before)
			mine = true
		}
	}()
	result := f.beats.Send(context.Background(), domain.SendHeartbeat{Key: key})
	if result.Err != nil {
		return f.failed(key, result.Err, before), true
	}
	f.body = f.api.appendResult(f.body[:0], key, result)
	reply = f.reply(http.StatusOK, max(result.Position, f.api.Queries.Position()))
	reply.Type, reply.Body = echo.MIMEApplicationJSON, f.body
	return reply, true
}

// Lookup implements lane.Face. The turn ends before the reply is written: a client that does not read it
// holds up nobody else.
func (f *laneFace) Lookup(service, match []byte) (reply lane.Reply, mine bool) {
	if !f.api.needsNoWarning() || !f.api.lookupTurns.TryEnter() {
		return lane.Reply{}, false
	}
	defer f.api.lookupTurns.Leave()
	position := f.api.Queries.Position()
	view := f.api.Queries.View(domain.ServiceKey{Namespace: domain.DefaultNamespace, Service: string(service)})
	if len(view.Entries) == 0 { // perhaps no legal name
		return lane.Reply{}, false
	}
	list, ok := f.api.Queries.AllInstances(view)
	if !ok || len(list.Bytes) >= web.LargeBody { // large replies are counted
		return lane.Reply{}, false
	}
	if web.Matches(string(match), list.ETag) {
		reply = f.reply(http.StatusNotModified, position)
	} else {
		reply = f.reply(http.StatusOK, position)
		reply.Type, reply.Body = echo.MIMEApplicationJSON, list.Bytes
	}
	reply.ETag = list.ETag
	return reply, true
}

func (f *laneFace) reply(status int, position eventstore.Position) lane.Reply {
	f.position = f.api.Queries.At(position).Append(f.position[:0])
	f.id = f.api.requestIDs.Append(f.id[:0])
	return lane.Reply{Status: status, Position: f.position, RequestID: f.id}
}

// failed is the reply to a heartbeat that failed.
func (f *laneFace) failed(key domain.Key, err error, position eventstore.Position) lane.Reply {
	reply := f.reply(0, position)
	p := web.ProblemOf(err)
	if p.Status == http.StatusInternalServerError {
		web.LogFailure(f.api.Logger, http.MethodPut, "/v1/services/"+key.Service+"/instances/"+key.ID+"/heartbeat", string(reply.RequestID), err)
	}
	reply.Status, reply.RetryAfter = p.Status, web.RetryAfter(p)
	reply.Type, reply.Body = web.MIMEProblem, web.EncodeProblem(p, string(reply.RequestID))
	return reply
}

// needsNoWarning says that replies need no header that the lane does not write.
func (a *api) needsNoWarning() bool {
	lag, stale := a.Queries.Lag()
	return !a.Queries.SelfPreserving(domain.DefaultNamespace) && !stale && lag <= tellLag
}
