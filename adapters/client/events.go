package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// EventQuery picks events of the log. The zero value picks all events but heartbeats.
type EventQuery struct {
	Namespace  string // "": every namespace, or with Service the client's
	Service    string
	Instance   string // of Service
	Types      []string
	Heartbeats bool   // also heartbeats
	From, To   Moment // both are included
	// After is the position of the last event that the caller has. Only later events are picked, and From is not used.
	After wire.Position
}

// selection gives the parameters that pick events, without from and to.
func (c *Client) selection(q EventQuery) url.Values {
	query := url.Values{}
	if q.Service != "" && q.Namespace == "" {
		q.Namespace = c.options.Namespace
	}
	for name, value := range map[string]string{"ns": q.Namespace, "service": q.Service, "instance": q.Instance, "type": strings.Join(q.Types, ",")} {
		set(query, name, value)
	}
	if q.Heartbeats {
		query.Set("heartbeats", "true")
	}
	return query
}

// Event is a recorded event, with its JSON as the registry sent it.
type Event struct {
	eventstore.RecordedEvent
	Raw []byte // valid until the next event
}

// Typed is the event as a value of the domain, such as a domain.InstanceRegistered. An event that this version does not know
// is an error.
func (e *Event) Typed() (domain.Event, error) { return eventstore.Decode(&e.RecordedEvent) }

// searchTimeout is how long a registry may search for the next event that a query picks.
const searchTimeout = 5 * time.Minute

// Events yields the events of the log in the order of their positions. A transfer that breaks off ends the sequence with
// a *Broken, which names the position of the last event that came. A sequence without an error is complete. If the
// registry has several nodes, a transfer that breaks off goes on at another node.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return c.resumed(ctx, q, false, c.events)
}

// events is Events over one connection.
func (c *Client) events(ctx context.Context, q EventQuery, opened func(*answer) error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		query := c.selection(q)
		set(query, "from", q.From)
		set(query, "to", q.To)
		if q.After.Number > 0 {
			query.Set("from", q.After.String()) // the event at After comes again, and is left out below
		}
		r := get("/v1/events", query)
		r.timeout = searchTimeout
		body, err := c.open(ctx, r)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer body.Close()
		if err := opened(body.resp); err != nil {
			yield(Event{}, err)
			return
		}
		lines := lineReader{r: bufio.NewReaderSize(&watchedReader{Reader: body, cancel: body.cancel, most: searchTimeout, cause: slowAnswer(searchTimeout)}, 64<<10)}
		after := q.After.Number
		for {
			line, err := lines.next()
			if err == io.EOF {
				return
			}
			var e eventstore.RecordedEvent
			if err == nil {
				e, err = eventstore.ParseJSON(line)
			}
			switch {
			case err == nil:
			case line != nil && after == 0: // not even the first line is an event
				yield(Event{}, body.resp.notAsked(err.Error()))
				return
			default:
				c.nodes.leave(body.resp.node)
				yield(Event{}, &Broken{URL: body.resp.node, After: after, Err: err})
				return
			}
			if e.Position <= q.After.Number {
				continue
			}
			if e.Position <= after {
				c.nodes.leave(body.resp.node)
				yield(Event{}, backwards(body.resp.node, &e, after))
				return
			}
			after = e.Position
			if !yield(Event{RecordedEvent: e, Raw: line}, nil) {
				return
			}
		}
	}
}

// backwards is the error of an event that does not come after the one before it. A consumer would take it for a later one.
func backwards(node string, e *eventstore.RecordedEvent, after eventstore.Position) *Broken {
	return &Broken{URL: node, After: after, Err: fmt.Errorf("the event at position %d came again, or too late", e.Position)}
}

// lineReader reads whole lines. Bytes without a newline at the end are an error: the transfer broke off.
type lineReader struct {
	r    *bufio.Reader
	long []byte // the beginning of a line that is longer than the buffer of r; its memory is used for later lines
}

// next is the next line that is not empty, without its newline. io.EOF: there is no further line. The line is valid until
// the next call: it points into the buffer of r, or is long.
func (l *lineReader) next() ([]byte, error) {
	l.long = l.long[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		line := part
		if len(l.long) > 0 || err == bufio.ErrBufferFull {
			l.long = append(l.long, part...)
			line = l.long
		}
		switch {
		case err == bufio.ErrBufferFull && len(l.long) <= maxEvent:
			continue
		case err == bufio.ErrBufferFull:
			return nil, domain.InvalidField{Field: "event", Rule: "is longer than a client takes"}
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 {
			return line, nil
		}
		l.long = l.long[:0]
	}
}
