package consul

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"runtime/debug"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// reports answers the plain reports of checks of one connection with the same bytes as the routes. A report whose check is not
// known yet is the server's: the lane answers the usual report, which finds its check by its id and at most renews it.
type reports struct {
	face        *face
	client      string            // its address
	certificate *x509.Certificate // its verified certificate; nil: none was shown
	node        node              // of the client
	who         *web.Identity
	beats       *commands.Heartbeats // of who
	usage       web.Account          // of who

	token, authorization []byte // what who was known by; nil: nothing was sent

	// The buffer of the newest reply's request id. INVARIANT: the next reply overwrites it, after the lane has written this one.
	id []byte
}

func (f *face) reports(c net.Conn) lane.Reports {
	l := &reports{face: f, client: c.RemoteAddr().String()}
	l.node = nodeAt(web.SourceOf(l.client))
	if secure, ok := c.(*tls.Conn); ok {
		state := secure.ConnectionState()
		l.certificate = web.CertificateOf(&state)
	}
	return l
}

// Authorize implements lane.Reports.
func (l *reports) Authorize(token, authorization []byte) bool {
	if l.who != nil && l.who.Still() && (!l.who.Controlled() || same(token, l.token) && same(authorization, l.authorization)) {
		return true
	}
	l.who = nil
	bearer := authorization
	switch scheme, _, _ := bytes.Cut(authorization, []byte{' '}); {
	case len(token) > 0:
		bearer = append([]byte("Bearer "), token...)
	case authorization != nil && !bytes.EqualFold(scheme, []byte("Bearer")):
		bearer = nil // it is for a proxy
	}
	who, err := l.face.Access.Authorize(bearer, l.client, l.certificate)
	if err != nil {
		return false
	}
	l.who, l.token, l.authorization = who, bytes.Clone(token), bytes.Clone(authorization)
	l.usage = l.face.Limits.Account(who, l.client)
	l.beats = l.face.Commands.Heartbeats(commands.Caller{Actor: who.Name, Source: web.SourceOf(l.client), Via: domain.ViaConsul})
	return true
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// Report implements lane.Reports.
//
// INVARIANT: from the call of Report of the commands on, mine is true, also after a failure and a panic: the HTTP server must not
// carry out the report a second time.
func (l *reports) Report(check, status, note, body []byte) (reply lane.Reply, mine bool) {
	f := l.face
	known, entry := f.recall(agentID{namespace: domain.DefaultNamespace, node: l.node.name, id: string(check), check: true})
	if known == (target{}) || entry.Check(known.check).Kind != domain.CheckTTL || !knows(l.who, known.key) {
		return lane.Reply{}, false
	}
	report := domain.ReportCheck{Key: known.key, Check: known.check}
	switch string(status) {
	case "pass":
		report.Status, report.Output = domain.Passing, string(note)
	case "warn":
		report.Status, report.Output = domain.Warning, string(note)
	case "fail":
		report.Status, report.Output = domain.Critical, string(note)
	default:
		var err error
		if report.Status, report.Output, err = readUpdate(body); err != nil {
			return lane.Reply{}, false
		}
	}
	report.Output = clipped(report.Output)
	holder, err := l.who.Holder(domain.WriteInstances, known.key)
	if err != nil || l.usage.Take(web.Heartbeats) != nil {
		return lane.Reply{}, false
	}
	report.Holder = holder
	if !f.reporting.TryEnter() {
		l.usage.GiveBack(web.Heartbeats)
		return lane.Reply{}, false
	}
	defer f.reporting.Leave()
	defer func() {
		if p := recover(); p != nil {
			reply, mine = l.failed(&web.Panic{Value: p, Stack: debug.Stack()}), true
		}
	}()
	if result := l.beats.Report(context.Background(), report); result.Err != nil {
		return l.failed(result.Err), true
	}
	return l.reply(http.StatusOK), true
}

func (l *reports) reply(status int) lane.Reply {
	l.id = l.face.ids.Append(l.id[:0])
	return lane.Reply{Status: status, Policy: l.face.policy(), RequestID: l.id}
}

// failed is the reply to a report that failed.
func (l *reports) failed(err error) lane.Reply {
	failed := l.face.failureOf(err)
	l.face.noteFailure(failed, lanePath, err)
	reply := l.reply(failed.status)
	reply.Type, reply.Body = plainText, []byte(failed.text)
	return reply
}

// lanePath is the path of the lane's requests in the log.
const lanePath = "/v1/agent/check"
