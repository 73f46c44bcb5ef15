package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/tmaxmax/go-sse"

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
	opened  func(*answer) // is called when the reply has begun
	heard   func()        // is called whenever bytes came
	current func()        // is called when the registry says for the first time that it has nothing to tell
}

// stream yields the messages of a stream of server-sent events. The sequence ends with an error, unless the caller stops
// first. The next request goes to another node, if the connection broke.
func (c *Client) stream(ctx context.Context, path string, query url.Values, lastID string, tell streaming) iter.Seq2[sse.Event, error] {
	return func(yield func(sse.Event, error) bool) {
		r := get(path, query)
		if lastID != "" {
			r.header = map[string]string{"Last-Event-ID": lastID}
		}
		body, err := c.open(ctx, r)
		if err != nil {
			yield(sse.Event{}, err)
			return
		}
		defer body.Close()
		node := body.resp.node
		if tell.opened != nil {
			tell.opened(body.resp)
		}
		if kind := body.resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/") {
			c.nodes.leave(node)
			yield(sse.Event{}, &NotRollcall{URL: node, Answer: body.resp.Status + " with " + kind + " instead of a stream"})
			return
		}
		for e, err := range sse.Read(&watchedReader{body, body.cancel, tell.heard, silence, Silent(silence), stillHere{current: tell.current}}, &sse.ReadConfig{MaxEventSize: maxEvent}) {
			if err != nil {
				c.nodes.leave(node)
				yield(sse.Event{}, &Broken{URL: node, Err: err})
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		c.nodes.leave(node)
		yield(sse.Event{}, &Broken{URL: node, Err: errors.New("the registry ended it")})
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
	still  stillHere
}

func (r *watchedReader) Read(p []byte) (int, error) {
	alarm := time.AfterFunc(r.most, func() { r.cancel(r.cause) })
	defer alarm.Stop()
	n, err := r.Reader.Read(p)
	if n > 0 && r.heard != nil {
		r.heard()
	}
	r.still.look(p[:n])
	return n, err
}

// stillHere looks in a stream for the first comment that says that the registry has nothing to tell.
type stillHere struct {
	current func() // nil: nobody wants to know, or knows already
	line    []byte // what came of the current line, at most a byte more than the comment has
}

const stillHereLine = ": " + wire.StillHere

func (s *stillHere) look(p []byte) {
	for s.current != nil && len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		s.line = append(s.line, part[:min(len(part), len(stillHereLine)+1-len(s.line))]...)
		if end < 0 {
			return
		}
		if string(s.line) == stillHereLine {
			s.current()
			s.current = nil
		}
		s.line, p = s.line[:0], p[end+1:]
	}
}

// StreamEvents yields the events that a query picks: the recorded events first, then new events as soon as they are
// recorded. Without After and From, only new events. To is not used. The sequence ends with an error: a *Broken, unless
// the registry refused. The caller may begin again with After set to the position of the last event. If the registry has
// several nodes, the client does so itself, at another node, and gives up when no node serves the stream.
func (c *Client) StreamEvents(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return c.resumed(ctx, q, c.streamEvents)
}

// streamEvents is StreamEvents over one connection. began is told the position at which the stream begins.
func (c *Client) streamEvents(ctx context.Context, q EventQuery, began func(wire.Position)) iter.Seq2[Event, error] {
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
		opened := func(resp *answer) {
			if at, err := resp.position(); err == nil && streamFrom(q) == "" {
				began(at)
			}
		}
		for m, err := range c.stream(ctx, "/v1/streams/events", query, "", streaming{opened: opened}) {
			if err == nil && m.Type == wire.StreamCut {
				err = c.cut(m)
			}
			if err != nil {
				broken(err)
				return
			}
			if m.Type != wire.StreamEvent {
				continue
			}
			e, err := eventstore.ParseJSON([]byte(m.Data))
			if err != nil {
				broken(&Broken{URL: c.URL(), Err: err})
				return
			}
			if e.Position <= last {
				broken(backwards(c.URL(), &e, last))
				return
			}
			last = e.Position
			if !yield(Event{RecordedEvent: e, Raw: []byte(m.Data)}, nil) {
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
func (c *Client) cut(m sse.Event) error {
	var why wire.Cut
	if err := json.Unmarshal([]byte(m.Data), &why); err != nil {
		return &Broken{URL: c.URL(), Err: err}
	}
	return &Broken{URL: c.URL(), Err: errors.New(why.Reason)}
}
