package consul

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// failure is a reply that is no success: a status and a line of text.
type failure struct {
	status int
	text   string
}

func (f failure) Error() string { return f.text }

const plainText = "text/plain; charset=utf-8"

func text(c echo.Context, status int, body string) error {
	c.Response().Header().Set("Content-Length", strconv.Itoa(len(body))) // among the headers where the lane has it
	return c.Blob(status, plainText, []byte(body))
}

// fail answers with an error. Commands are refused with the status and the text that Consul has for the same thing.
func (f *face) fail(c echo.Context, err error) {
	if c.Response().Committed {
		return
	}
	failed := f.failureOf(err)
	f.noteFailure(failed, c.Request().URL.Path, err)
	_ = text(c, failed.status, failed.text) // the client is gone if the reply cannot be written
}

func (f *face) noteFailure(failed failure, path string, cause error) {
	if failed.status >= 500 && failed.status != http.StatusNotImplemented {
		f.Logger.Debug("a request of Consul's API failed", "path", path, "cause", cause)
	}
}

func (f *face) failureOf(err error) failure {
	var failed failure
	if errors.As(err, &failed) {
		return failed
	}
	var field domain.InvalidField
	var forbidden domain.Forbidden
	var notHeld domain.NotHeld
	var unknown domain.UnknownInstance
	var lapsed domain.LeaseLapsed
	var check domain.UnknownCheck
	switch {
	case errors.As(err, &field):
		return failure{http.StatusBadRequest, fmt.Sprintf("Invalid %s: %s", field.Field, field.Rule)}
	case errors.As(err, &forbidden), errors.As(err, &notHeld):
		return failure{http.StatusForbidden, "Permission denied: " + err.Error()}
	case errors.As(err, &check):
		return unknownCheck(check.Check)
	case errors.As(err, &unknown):
		return unknownService(unknown.Key.ID)
	case errors.As(err, &lapsed):
		return unknownService(lapsed.Key.ID)
	case errors.Is(err, commands.ErrContended), errors.As(err, new(domain.RevisionMismatch)):
		return failure{http.StatusInternalServerError, commands.ErrContended.Error()}
	}
	if he := new(echo.HTTPError); errors.As(err, &he) {
		return failure{he.Code, fmt.Sprint(he.Message)}
	}
	switch p := web.ProblemOf(err); {
	case p.Kind() == "overloaded":
		return failure{p.Status, "Your request was rejected: " + p.Detail}
	case p.Status == http.StatusUnauthorized:
		return failure{http.StatusForbidden, "Permission denied"}
	case p.Status == http.StatusServiceUnavailable: // clients try again
		return failure{http.StatusInternalServerError, "No cluster leader"}
	case p.Status < 500:
		return failure{p.Status, cmp.Or(p.Detail, p.Title)}
	}
	return failure{http.StatusInternalServerError, err.Error()}
}

var noNodeName = failure{http.StatusBadRequest, "Missing node name"}

func unknownCheck(id string) failure {
	return failure{http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)}
}

func unknownService(id string) failure {
	return failure{http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)}
}

// done answers a command: with nothing.
func done(q *request) error {
	q.Response().Header().Set("Content-Length", "0")
	return q.NoContent(http.StatusOK)
}

// compressed is from how many bytes on a reply is compressed for a client that takes gzip.
const compressed = 1024

// send answers with JSON that is encoded already.
func (q *request) send(status int, body []byte) error {
	body = q.formatted(body)
	return q.sendReply(status, reply{plain: body, small: compress(body, q.takesGzip())})
}

// formatted is JSON in the form that the request asks for.
func (q *request) formatted(body []byte) []byte {
	if !q.query.Has("pretty") {
		return body
	}
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "    ") != nil {
		return body
	}
	return append(indented.Bytes(), '\n')
}

// reply is a body, and its compressed form; nil: there is none.
type reply struct{ plain, small []byte }

func (q *request) takesGzip() bool {
	return web.AcceptsGzip(strings.Join(q.Request().Header["Accept-Encoding"], ","))
}

func compress(body []byte, asked bool) []byte {
	if !asked || len(body) < compressed {
		return nil
	}
	var small bytes.Buffer
	w, _ := gzip.NewWriterLevel(&small, gzip.BestSpeed) // the level is a valid one
	_, err := w.Write(body)
	if errors.Join(err, w.Close()) != nil {
		return nil
	}
	return small.Bytes()
}

func (q *request) sendReply(status int, r reply) error {
	web.Leave(q) // a client that reads slowly keeps no turn
	header := q.Response().Header()
	header.Add("Vary", "Accept-Encoding")
	if q.filtered {
		header.Set("X-Consul-Results-Filtered-By-Acls", "true")
	}
	body := r.plain
	if r.small != nil && q.takesGzip() {
		header.Set("Content-Encoding", "gzip")
		body = r.small
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return q.Blob(status, "application/json", body)
}

func (q *request) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return q.send(http.StatusOK, body)
}

func (f *face) emptyList(q *request) error {
	index, err := f.block(q, func() uint64 { return f.floor }) // it blocks, for clients follow such lists, too
	if err != nil {
		return err
	}
	f.headers(q, index)
	return q.send(http.StatusOK, []byte("[]"))
}
func (f *face) emptyObject(q *request) error { return q.send(http.StatusOK, []byte("{}")) }

// headers says up to where an answer is. An index is never 0, for clients take that for a server that cannot block.
func (f *face) headers(q *request, index uint64) {
	header := q.Response().Header()
	header.Set("X-Consul-Index", strconv.FormatUint(max(index, 1), 10))
	lag := f.Queries.Live.LagTime()
	if lag < 3*time.Second { // as the native API: what is measured once a second is no lag
		lag = 0
	}
	header.Set("X-Consul-Lastcontact", strconv.FormatInt(lag.Milliseconds(), 10))
	header.Set("X-Consul-Knownleader", strconv.FormatBool(f.Ready() == nil))
	consistency := "leader"
	for _, name := range []string{"stale", "consistent"} {
		if q.query.Has(name) {
			consistency = name
		}
	}
	header.Set("X-Consul-Effective-Consistency", consistency)
	header.Set("X-Consul-Query-Backend", "blocking-query")
}

// block waits until the index of the answer is greater than that of the request, for the wait of the request at most. The
// index is what index gives, and at least the floor. A request whose index is ahead of the log, as after a restore, is
// answered at once: waiting would help nobody. keys are the services whose changes can change the index; none: all.
func (f *face) block(q *request, index func() uint64, keys ...domain.ServiceKey) (uint64, error) {
	now := func() uint64 { return max(index(), f.floor) }
	if q.index == 0 || q.index > max(uint64(f.Queries.Position()), f.floor) {
		return now(), nil
	}
	if err := f.await(q, func() bool { return now() > q.index }, keys...); err != nil {
		return 0, err
	}
	return now(), nil
}

// await waits until there is something new for a request that blocks, for the wait of the request at most. Meanwhile the request has no turn. keys
// are the services whose changes can be news; none: all.
func (f *face) await(q *request, news func() bool, keys ...domain.ServiceKey) error {
	select {
	case f.blocked <- struct{}{}:
		defer func() { <-f.blocked }()
	default:
		return failure{http.StatusTooManyRequests, "Your request was rejected: too many blocking queries wait already"}
	}
	web.Leave(q)
	_ = http.NewResponseController(q.Response()).SetWriteDeadline(f.Now().Add(q.wait + time.Minute)) // a test's recorder has none
	if len(keys) == 0 {
		keys = []domain.ServiceKey{{}}
	}
	if err := f.Queries.AwaitUntil(q.Request().Context(), q.wait, news, keys...); err != nil {
		return err
	}
	if !q.who.Still() {
		return failure{http.StatusForbidden, "ACL not found"}
	}
	return f.polled.Switch(q)
}

// indexOf is the index of a position.
func indexOf(p eventstore.Position) uint64 { return uint64(p) }
