package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// laneBatch carries out heartbeats and registrations of many connections, those of a kind with one commit.
type laneBatch struct {
	api           *api
	requests      []batched // in the order of Add
	beats         batchedKind[commands.CallersHeartbeat]
	registrations batchedKind[commands.CallersRegistration]

	namespace      string              // of the newest request since the newest Reset; "": there was none
	needsNoWarning bool                // for that namespace, when it came
	before, newest eventstore.Position // of the catalog, before and after Send

	replies laneFace // its buffers are those of the newest reply; it stands for no connection
}

// batched is a request of a batch.
type batched struct {
	face      *laneFace
	registers bool
	at        int // among those of its kind
	size      int // of a registration's body, in bytes
}

// batchedKind are the requests of a batch that one commit carries out.
type batchedKind[Request any] struct {
	all     []Request
	tried   []commands.Tried // one for each, once send has returned
	turns   *web.Turns
	held    int        // turns
	failure *web.Panic // of send; nil: it did not panic
}

// send carries them out. Their turns end before the replies are written.
func (k *batchedKind[Request]) send(try func(context.Context, []Request, []commands.Tried) []commands.Tried) {
	defer func() {
		if p := recover(); p != nil {
			k.failure = &web.Panic{Value: p, Stack: debug.Stack()}
		}
		k.leave()
	}()
	k.tried = try(context.Background(), k.all, k.tried[:0])
}

func (k *batchedKind[Request]) add(r Request) {
	k.held++
	k.all = append(k.all, r)
}

func (k *batchedKind[Request]) leave() {
	for ; k.held > 0; k.held-- {
		k.turns.Leave()
	}
}

func (k *batchedKind[Request]) reset() {
	k.leave()
	clear(k.all)
	k.all, k.tried, k.failure = k.all[:0], k.tried[:0], nil
}

// batchesAtOnce is how many batches are under way at once; 0: the lane's choice. A commit that takes a way over the network takes so
// long that heartbeats which wait for two of them lose more than larger batches spare (ADR 111).
func batchesAtOnce(remote bool) int {
	if remote {
		return 16
	}
	return 0
}

func (a *api) laneBatch() lane.Batch {
	b := &laneBatch{api: a, replies: laneFace{api: a}}
	b.beats.turns, b.registrations.turns = a.heartbeatTurns, a.commandTurns
	return b
}

// Add implements lane.Batch. It refuses what the Face's own methods refuse, and a registration that would have to wait for its turn.
func (b *laneBatch) Add(face lane.Face, kind lane.Kind, of lane.Subject, body []byte) bool {
	f := face.(*laneFace)
	if kind == lane.Registration {
		return b.addRegistration(f, of, body)
	}
	key := keyOf(of)
	if key.Namespace != b.namespace {
		b.namespace, b.needsNoWarning = key.Namespace, b.api.needsNoWarning(key.Namespace)
	}
	holder, err := f.who.Holder(domain.WriteInstances, key)
	if err != nil || !b.needsNoWarning || !f.enterBeat(key) {
		return false
	}
	b.requests = append(b.requests, batched{face: f, at: len(b.beats.all)})
	b.beats.add(commands.CallersHeartbeat{By: f.beats, Key: key, Holder: holder})
	return true
}

func (b *laneBatch) addRegistration(f *laneFace, of lane.Subject, body []byte) bool {
	var r commands.CallersRegistration
	if !f.readRegistration(&r.RegisterInstance, of, body) || !f.enter(b.registrations.turns, web.Requests) {
		return false
	}
	r.By = f.caller
	b.replies.id = b.api.requestIDs.Append(b.replies.id[:0])
	r.By.RequestID = string(b.replies.id)
	b.requests = append(b.requests, batched{face: f, registers: true, at: len(b.registrations.all), size: len(body)})
	b.registrations.add(r)
	return true
}

// Send implements lane.Batch. Heartbeats and registrations are carried out at the same time.
func (b *laneBatch) Send() {
	b.before = b.api.Queries.Position()
	if len(b.registrations.all) > 0 && len(b.beats.all) > 0 {
		var other sync.WaitGroup
		other.Go(func() { b.beats.send(b.api.Commands.TrySendMany) })
		b.registrations.send(b.api.Commands.TryRegisterMany)
		other.Wait()
	} else if len(b.beats.all) > 0 {
		b.beats.send(b.api.Commands.TrySendMany)
	} else {
		b.registrations.send(b.api.Commands.TryRegisterMany)
	}
	b.newest = b.api.Queries.Position()
}

// Reply implements lane.Batch. A request that cannot be decided here is the face's, which counts it.
func (b *laneBatch) Reply(i int) (reply lane.Reply, mine bool) {
	request := &b.requests[i]
	if request.registers {
		return b.registered(request)
	}
	key := b.beats.all[request.at].Key
	if b.beats.failure != nil {
		return b.replies.failed(lane.Heartbeat, key, b.beats.failure, b.replies.reply(0, b.before)), true
	}
	tried := &b.beats.tried[request.at]
	switch {
	case !tried.Known:
		request.face.usage.GiveBack(request.face.took)
		return lane.Reply{}, false
	case tried.Err != nil:
		return b.replies.failed(lane.Heartbeat, key, tried.Err, b.replies.reply(0, b.before)), true
	}
	return b.replies.renewed(key, tried.Result, b.newest), true
}

// registered is Reply of a registration.
func (b *laneBatch) registered(request *batched) (reply lane.Reply, mine bool) {
	defer func() {
		if mine {
			request.face.usage.Charge(web.Bytes, request.size+len(reply.Body))
		}
	}()
	r := &b.registrations.all[request.at]
	b.replies.id = append(b.replies.id[:0], r.By.RequestID...)
	if b.registrations.failure != nil {
		return b.replies.failed(lane.Registration, r.Key, b.registrations.failure, b.replies.replyWithID(0, b.before)), true
	}
	tried := &b.registrations.tried[request.at]
	switch {
	case !tried.Known:
		request.face.usage.GiveBack(web.Requests)
		return lane.Reply{}, false
	case tried.Err != nil:
		return b.replies.failed(lane.Registration, r.Key, tried.Err, b.replies.replyWithID(0, b.before)), true
	}
	return b.replies.registered(r.Key, tried.Result), true
}

// Reset implements lane.Batch.
func (b *laneBatch) Reset() {
	clear(b.requests)
	b.requests = b.requests[:0]
	b.beats.reset()
	b.registrations.reset()
	b.namespace = ""
}

// renewed is the reply to a heartbeat that was received. newest is the catalog's position.
func (f *laneFace) renewed(key domain.Key, result commands.Result, newest eventstore.Position) lane.Reply {
	f.body = appendResult(f.body[:0], f.api.Queries.At(result.Position), key, result)
	reply := f.reply(http.StatusOK, max(result.Position, newest))
	reply.Type, reply.Body = echo.MIMEApplicationJSON, f.body
	return reply
}
