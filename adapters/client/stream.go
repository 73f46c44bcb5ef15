package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// silence is how long a stream may bring no byte. A registry sends a comment every KeepAlive, so that a connection without
// a byte for twice that time is dead.
const silence = 2 * KeepAlive

// Silent is the cause of the end of a stream whose connection was dead: no byte came, not even a keep-alive.
type Silent time.Duration

func (e Silent) Error() string {
	return fmt.Sprintf("nothing came for %v, not even a keep-alive", time.Duration(e))
}

// streaming is what a caller of stream wants to know of the connection. Functions may be nil.
type streaming struct {
	opened  func(*answer) error // is called when the reply has begun; an error ends the stream
	heard   func()              // is called whenever bytes came
	current func()              // is called when the registry says for the first time that it has nothing to tell
}

// stream yields the messages of a stream of server-sent events. The sequence ends with an error, unless the caller stops
// first. The next request goes to another node, if the connection broke.
func (c *Client) stream(ctx context.Context, path string, query url.Values, lastID string, tell streaming) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		r := get(path, query)
		if lastID != "" {
			r.header = map[string]string{"Last-Event-ID": lastID}
		}
		body, err := c.open(ctx, r)
		if err != nil {
			yield(message{}, err)
			return
		}
		defer body.Close()
		node := body.resp.node
		if kind := body.resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/") {
			c.nodes.leave(node)
			yield(message{}, &NotRollcall{URL: node, Answer: body.resp.Status + " with " + kind + " instead of a stream"})
			return
		}
		if tell.opened != nil {
			if err := tell.opened(body.resp); err != nil {
				yield(message{}, err)
				return
			}
		}
		messages := newMessages(&watchedReader{body, body.cancel, tell.heard, silence, Silent(silence)}, maxRead)
		messages.comment = func(text []byte) {
			if tell.current != nil && string(text) == " "+wire.StillHere {
				tell.current()
				tell.current = nil
			}
		}
		for {
			m, err := messages.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				c.nodes.leave(node)
				yield(message{}, &Broken{URL: node, Err: err})
				return
			}
			if !yield(m, nil) {
				return
			}
		}
		c.nodes.leave(node)
		yield(message{}, &Broken{URL: node, Err: errors.New("the registry ended it")})
	}
}

// watchedReader cancels a request when one read takes longer than most. The time between two reads does not count: in
// that time the caller is slow, not the connection.
type watchedReader struct {
	io.Reader
	cancel context.CancelCauseFunc
	heard  func() // nil: no call
	most   time.Duration
	cause  error // of the cancelling
}

func (r *watchedReader) Read(p []byte) (int, error) {
	alarm := time.AfterFunc(r.most, func() { r.cancel(r.cause) })
	defer alarm.Stop()
	n, err := r.Reader.Read(p)
	if n > 0 && r.heard != nil {
		r.heard()
	}
	return n, err
}

// StreamEvents yields the events that a query picks: the recorded events first, then new events as soon as they are
// recorded. Without After and From, only new events. To is not used. The sequence ends with an error: a *Broken, unless
// the registry refused. The caller may begin again with After set to the position of the last event. If the registry has
// several nodes, the client does so itself, at another node, and gives up when no node serves the stream.
func (c *Client) StreamEvents(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return c.resumed(ctx, q, true, c.streamEvents)
}

// streamEvents is StreamEvents over one connection.
func (c *Client) streamEvents(ctx context.Context, q EventQuery, opened func(*answer) error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		query := c.selection(q)
		set(query, "from", streamFrom(q))
		last := q.After.Number
		broken := func(err error) {
			var b *Broken
			if errors.As(err, &b) {
				b.After = last
			}
			yield(Event{}, err)
		}
		for m, err := range c.stream(ctx, "/v1/streams/events", query, "", streaming{opened: opened}) {
			if err == nil && m.kind == wire.StreamCut {
				err = c.cut(m)
			}
			if err != nil {
				broken(err)
				return
			}
			if m.kind != wire.StreamEvent {
				continue
			}
			e, err := eventstore.ParseJSON(m.data)
			if err != nil {
				broken(&Broken{URL: c.URL(), Err: err})
				return
			}
			if e.Position <= last {
				broken(backwards(c.URL(), &e, last))
				return
			}
			last = e.Position
			if !yield(Event{RecordedEvent: e, Raw: m.data}, nil) {
				return
			}
		}
	}
}

// streamFrom is the parameter from of a stream: the position after which, or the time at which, the stream begins.
func streamFrom(q EventQuery) string {
	if q.After.Number > 0 {
		return q.After.String()
	}
	if p, err := wire.ParsePosition("from", string(q.From)); err == nil && p.Number > 0 {
		p.Number-- // From is included
		return p.String()
	}
	return string(q.From)
}

// cut is the error of a stream that the registry ended with a reason.
func (c *Client) cut(m message) error {
	var why wire.Cut
	if err := json.Unmarshal(m.data, &why); err != nil {
		return &Broken{URL: c.URL(), Err: err}
	}
	return &Broken{URL: c.URL(), Err: errors.New(why.Reason)}
}
