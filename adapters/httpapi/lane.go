package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// laneFace answers the plain requests of one connection with the same bytes as the routes.
type laneFace struct {
	api         *api
	client      string            // its address
	certificate *x509.Certificate // its verified certificate; nil: none was shown
	who         *web.Identity
	caller      commands.Caller      // who, as a command's caller without a request id
	beats       *commands.Heartbeats // of who
	usage       web.Account          // of who

	authorization []byte    // what who was known by; nil: nothing was sent
	via           []byte    // what the caller says of its way
	took          web.Limit // what the newest heartbeat has used one of

	// The buffers of the newest reply. INVARIANT: a reply points into these buffers until the next call of a method that
	// replies, which overwrites them. The lane has written a reply before it calls again (lane.Face).
	position, id, body, location []byte
	large                        web.LaneReply
}

func (a *api) laneFace(c net.Conn) lane.Face {
	f := &laneFace{api: a, client: c.RemoteAddr().String()}
	if secure, ok := c.(*tls.Conn); ok {
		state := secure.ConnectionState()
		f.certificate = web.CertificateOf(&state)
	}
	return f
}

// Authorize implements lane.Face. Who a connection's client is, is looked up once for each token and way, and again after a
// change of any token or role.
func (f *laneFace) Authorize(authorization, via []byte) bool {
	if f.who != nil && f.who.Still() && bytes.Equal(via, f.via) && (!f.who.Controlled() || bytes.Equal(authorization, f.authorization) && (authorization == nil) == (f.authorization == nil)) {
		return true
	}
	who, err := f.api.Access.Authorize(authorization, f.client, f.certificate)
	if err != nil {
		f.who = nil
		return false
	}
	f.who, f.authorization, f.via = who, bytes.Clone(authorization), bytes.Clone(via)
	f.usage = f.api.Limits.Account(who, f.client)
	f.caller = commands.Caller{Actor: who.Name, Source: web.SourceOf(f.client), Via: viaOf(who, string(via))}
	f.beats = f.api.Commands.Heartbeats(f.caller)
	return true
}

// laneRoutes are the routes of the requests that the lane answers.
var laneRoutes = map[lane.Kind]struct {
	method, path string
	usual        []int // the statuses of replies without a problem
}{
	lane.Lookup:       {http.MethodGet, "/v1/services/:service/instances", []int{http.StatusOK, http.StatusNotModified}},
	lane.Heartbeat:    {http.MethodPut, heartbeatPath, []int{http.StatusOK}},
	lane.Registration: {http.MethodPut, "/v1/services/:service/instances/:id", []int{http.StatusOK, http.StatusCreated}},
	lane.Heartbeats:   {http.MethodPost, heartbeatsPath, []int{http.StatusOK}},
	lane.History:      {http.MethodGet, "/v1/services/:service/instances/:id/history", []int{http.StatusOK, http.StatusNotModified}},
}

// observeLane reports the lane's replies to the observer, each under the route of its request.
func observeLane(observer web.Observer) func(kind lane.Kind, status int, took time.Duration) {
	if observer == nil {
		return nil
	}
	usual := map[lane.Kind]map[int]func(time.Duration){} // by kind and status
	for kind, route := range laneRoutes {
		usual[kind] = map[int]func(time.Duration){}
		for _, status := range route.usual {
			usual[kind][status] = observer.Series(route.method, route.path, status)
		}
	}
	return func(kind lane.Kind, status int, took time.Duration) {
		if observe := usual[kind][status]; observe != nil {
			observe(took)
		} else {
			observer.Replied(laneRoutes[kind].method, laneRoutes[kind].path, status, took)
		}
	}
}

// Heartbeat implements lane.Face. The HTTP server answers under overload, and replies that need a warning.
//
// INVARIANT: from the call of Send on, mine is true, also after a failure and a panic: the HTTP server must not carry
// out the heartbeat a second time.
func (f *laneFace) Heartbeat(of lane.Subject) (reply lane.Reply, mine bool) {
	key := keyOf(of)
	holder, err := f.who.Holder(domain.WriteInstances, key)
	if err != nil || !f.api.needsNoWarning(key.Namespace) || !f.enterBeat(key) {
		return lane.Reply{}, false
	}
	defer f.api.heartbeatTurns.Leave()
	before := f.api.Queries.Position()
	defer func() {
		if p := recover(); p != nil {
			reply = f.failed(lane.Heartbeat, key, &web.Panic{Value: p, Stack: debug.Stack()}, f.reply(0, before))
			mine = true
		}
	}()
	result := f.beats.Send(context.Background(), domain.SendHeartbeat{Key: key, Holder: holder})
	if result.Err != nil {
		return f.failed(lane.Heartbeat, key, result.Err, f.reply(0, before)), true
	}
	return f.renewed(key, result, f.api.Queries.Position()), true
}

// namespaceOf is namespace for a request of the lane.
func namespaceOf(named []byte) string {
	if named == nil {
		return domain.DefaultNamespace
	}
	return string(named)
}

func keyOf(of lane.Subject) domain.Key {
	return domain.Key{Namespace: namespaceOf(of.Namespace), Service: string(of.Service), ID: string(of.ID)}
}

// enterBeat is enter for one heartbeat. One of an instance that is not known counts as a request.
func (f *laneFace) enterBeat(key domain.Key) bool {
	f.took = web.Heartbeats
	if f.api.Limits != nil && !f.api.Queries.Known(key) {
		f.took = web.Requests
	}
	return f.enter(f.api.heartbeatTurns, f.took)
}

// enter uses one of what the client may send and takes a turn. Otherwise it does neither, and somebody else answers the request.
func (f *laneFace) enter(turns *web.Turns, limit web.Limit) bool {
	if f.usage.Take(limit) != nil {
		return false
	}
	if !turns.TryEnter() {
		f.usage.GiveBack(limit)
		return false
	}
	return true
}

// largestInLane is the length in bytes of the largest list that the lane sends. The server writes a larger list in pieces, so
// that other work gets the processor in between.
const largestInLane = 1 << 20

// Lookup implements lane.Face. The turn ends before the lane writes the reply, so that a client that does not read its
// reply keeps no turn.
func (f *laneFace) Lookup(of lane.Subject, ready bool, match, encodings []byte) (reply lane.Reply, mine bool) {
	key := domain.ServiceKey{Namespace: namespaceOf(of.Namespace), Service: string(of.Service)}
	allowed := domain.Allow(f.who.Grants, domain.ReadCatalog, domain.Key{Namespace: key.Namespace, Service: key.Service})
	if !allowed || !f.api.needsNoWarning(key.Namespace) || !f.api.lookupTurns.TryEnter() {
		return lane.Reply{}, false
	}
	defer f.api.lookupTurns.Leave()
	position := f.api.Queries.Position()
	view := f.api.Queries.View(key)
	if len(view.Entries) == 0 { // the name may be illegal, which the server checks
		return lane.Reply{}, false
	}
	list, ok := f.api.Queries.PlainList(view, ready)
	if !ok {
		return lane.Reply{}, false
	}
	unchanged := web.Matches(string(match), list.ETag)
	compressed := len(list.Bytes) >= web.GzipFrom && encodings != nil && web.AcceptsGzip(string(encodings)) // by the server
	// The request is counted last: the server counts those that it gets.
	if compressed || !unchanged && len(list.Bytes) > largestInLane || f.usage.Take(web.Requests) != nil {
		return lane.Reply{}, false
	}
	if unchanged {
		reply = f.reply(http.StatusNotModified, position)
	} else {
		reply = f.reply(http.StatusOK, position)
		reply.Type, reply.Body = echo.MIMEApplicationJSON, list.Bytes
	}
	reply.ETag = list.ETag
	if len(list.Bytes) >= web.GzipFrom {
		reply.Vary = "Accept-Encoding"
	}
	if len(reply.Body) >= web.LargeBody {
		reply.Bound = f.large.Of(f.api.outgoing, reply.Body, &f.usage) // charges once the reply begins
	} else {
		f.usage.Charge(web.Bytes, len(reply.Body))
	}
	return reply, true
}

func (f *laneFace) reply(status int, position eventstore.Position) lane.Reply {
	f.id = f.api.requestIDs.Append(f.id[:0])
	return f.replyWithID(status, position)
}

// replyWithID is reply with the request id that was made last.
func (f *laneFace) replyWithID(status int, position eventstore.Position) lane.Reply {
	f.position = f.api.Queries.At(position).Append(f.position[:0])
	return lane.Reply{Status: status, Position: f.position, RequestID: f.id}
}

// failed makes a reply of a request for an instance that failed.
func (f *laneFace) failed(kind lane.Kind, key domain.Key, err error, reply lane.Reply) lane.Reply {
	p := web.ProblemOf(err)
	if p.Status == http.StatusInternalServerError {
		path := strings.NewReplacer(":service", key.Service, ":id", key.ID).Replace(laneRoutes[kind].path)
		web.LogFailure(f.api.Logger, laneRoutes[kind].method, path, string(reply.RequestID), err)
	}
	reply.Status, reply.RetryAfter = p.Status, web.RetryAfter(p)
	reply.Type, reply.Body = web.MIMEProblem, web.EncodeProblem(p, string(reply.RequestID))
	return reply
}

// needsNoWarning says whether replies about a namespace need none of the warning headers, which the lane does not write.
func (a *api) needsNoWarning(namespace string) bool {
	lag, stale := a.Queries.Lag()
	return !a.Queries.SelfPreserving(namespace) && !stale && lag <= warnFromLag
}
