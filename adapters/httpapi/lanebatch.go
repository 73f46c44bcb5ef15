package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// laneBatch carries out heartbeats of many connections with one commit.
type laneBatch struct {
	api   *api
	faces []*laneFace
	beats []commands.CallersHeartbeat // of the faces
	tried []commands.Tried            // one for each heartbeat, once Send has returned

	namespace      string              // of the newest heartbeat since the newest Reset; "": there was none
	needsNoWarning bool                // for that namespace, when it came
	before, newest eventstore.Position // of the catalog, before and after Send
	failure        *web.Panic          // of Send; nil: Send did not panic

	held int // turns

	replies laneFace // its buffers are those of the newest reply; it stands for no connection
}

// batchesAtOnce is how many batches are under way at once; 0: the lane's choice. A commit that takes a way over the network takes so
// long that heartbeats which wait for two of them lose more than larger batches spare (ADR 111).
func batchesAtOnce(remote bool) int {
	if remote {
		return 16
	}
	return 0
}

func (a *api) laneBatch() lane.Batch { return &laneBatch{api: a, replies: laneFace{api: a}} }

// Add implements lane.Batch. It refuses what laneFace.Heartbeat refuses.
func (b *laneBatch) Add(face lane.Face, of lane.Subject) bool {
	f := face.(*laneFace)
	key := keyOf(of)
	if key.Namespace != b.namespace {
		b.namespace, b.needsNoWarning = key.Namespace, b.api.needsNoWarning(key.Namespace)
	}
	holder, err := f.who.Holder(domain.WriteInstances, key)
	if err != nil || !b.needsNoWarning || !f.enterBeat(key) {
		return false
	}
	b.held++
	b.faces = append(b.faces, f)
	b.beats = append(b.beats, commands.CallersHeartbeat{By: f.beats, Key: key, Holder: holder})
	return true
}

// Send implements lane.Batch. The turns end before the replies are written.
func (b *laneBatch) Send() {
	b.before = b.api.Queries.Position()
	defer func() {
		if p := recover(); p != nil {
			b.failure = &web.Panic{Value: p, Stack: debug.Stack()}
		}
		b.newest = b.api.Queries.Position()
		b.leave()
	}()
	b.tried = b.api.Commands.TrySendMany(context.Background(), b.beats, b.tried[:0])
}

// Reply implements lane.Batch. A heartbeat that cannot be decided on the catalog alone is the face's, which counts it.
func (b *laneBatch) Reply(i int) (reply lane.Reply, mine bool) {
	key := b.beats[i].Key
	if b.failure != nil {
		return b.replies.failed(lane.Heartbeat, key, b.failure, b.replies.reply(0, b.before)), true
	}
	tried := &b.tried[i]
	switch {
	case !tried.Known:
		b.faces[i].usage.GiveBack(b.faces[i].took)
		return lane.Reply{}, false
	case tried.Err != nil:
		return b.replies.failed(lane.Heartbeat, key, tried.Err, b.replies.reply(0, b.before)), true
	}
	return b.replies.renewed(key, tried.Result, b.newest), true
}

// Reset implements lane.Batch.
func (b *laneBatch) Reset() {
	b.leave()
	clear(b.faces)
	clear(b.beats)
	b.faces, b.beats, b.tried = b.faces[:0], b.beats[:0], b.tried[:0]
	b.namespace, b.failure = "", nil
}

func (b *laneBatch) leave() {
	for ; b.held > 0; b.held-- {
		b.api.heartbeatTurns.Leave()
	}
}

// renewed is the reply to a heartbeat that was received. newest is the catalog's position.
func (f *laneFace) renewed(key domain.Key, result commands.Result, newest eventstore.Position) lane.Reply {
	f.body = appendResult(f.body[:0], f.api.Queries.At(result.Position), key, result)
	reply := f.reply(http.StatusOK, max(result.Position, newest))
	reply.Type, reply.Body = echo.MIMEApplicationJSON, f.body
	return reply
}
