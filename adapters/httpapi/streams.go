package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

const (
	// keepAlive is the time between two comments on a quiet stream, so that proxies keep it open.
	keepAlive = 15 * time.Second
	// pace is the least time between two writes to a subscriber: changes that come faster go together.
	pace = 2 * time.Millisecond
	// streamTimeout is within what a subscriber must take what it is sent.
	streamTimeout = 30 * time.Second
)

// The names of the events of a stream.
const (
	sseSnapshot = "snapshot" // all there is, at the id
	sseReset    = "reset"    // a snapshot that replaces what the subscriber has: changes in between are not told
	sseChange   = "change"   // one change
	sseEvent    = "event"    // of /v1/streams/events: one recorded event
	sseCut      = "cut"      // the stream ends for the reason given; it can be resumed
)

// sse writes server-sent events (WHATWG HTML, section 9.2).
type sse struct {
	c      echo.Context
	buffer []byte
}

func newSSE(c echo.Context) *sse {
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	return &sse{c: c}
}

func appendSSE(b []byte, id eventstore.Position, name string, data []byte) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, uint64(id), 10)
	b = append(b, "\nevent: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...) // JSON without newlines is one line
	b = append(b, data...)
	return append(b, "\n\n"...)
}

func (s *sse) send(id eventstore.Position, name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	s.buffer = appendSSE(s.buffer, id, name, b)
	return nil
}

// flush hands over what was sent. It fails when the subscriber is gone or does not take it in time.
func (s *sse) flush() error {
	patience(s.c, streamTimeout)
	if len(s.buffer) > 0 {
		if _, err := s.c.Response().Write(s.buffer); err != nil {
			return err
		}
		s.buffer = s.buffer[:0]
		if cap(s.buffer) > 64<<10 { // a snapshot's: idle subscribers hold no buffer
			s.buffer = nil
		}
	}
	s.c.Response().Flush()
	return nil
}

func (s *sse) comment(text string) {
	s.buffer = append(append(append(s.buffer, ": "...), text...), "\n\n"...)
}

// resumeFrom is the position after which a subscriber goes on: that of Last-Event-ID, which a
// browser sends when it reconnects, before ?from=. ok is false when it begins anew.
func (a *api) resumeFrom(c echo.Context) (after eventstore.Position, ok bool, err error) {
	field, s := "Last-Event-ID", c.Request().Header.Get("Last-Event-ID")
	if s == "" {
		field, s = "from", c.QueryParam("from")
	}
	if s == "" {
		return 0, false, nil
	}
	if after, err = parsePosition(field, s); err != nil {
		return 0, false, err
	}
	head, err := a.Store.Head(c.Request().Context())
	if err == nil && after > head {
		err = invalidField(field, fmt.Sprintf("must be a position that was assigned; the newest is %d", head))
	}
	return after, true, err
}

// streamService is a service as it is, and its changes from there on.
func (a *api) streamService(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	filter, _, err := instanceFilter(c)
	if err != nil {
		return err
	}
	return a.stream(c, &subscriber{key: key, filter: filter, snapshot: func() (any, eventstore.Position) {
		view, at := a.Registry.Snapshot(key)
		return wire.InstanceList{
			Service: key.Service, Namespace: key.Namespace, Position: wire.Position{Number: at}, Instances: queries.Pick(view, filter, nil),
		}, at
	}})
}

// streamCatalog is everything as it is, and its changes from there on.
func (a *api) streamCatalog(c echo.Context) error {
	ns := c.QueryParam("ns")
	if ns != "" {
		if err := domain.ValidateLabel("ns", ns); err != nil {
			return err
		}
	}
	filter, _, err := instanceFilter(c)
	if err != nil {
		return err
	}
	return a.stream(c, &subscriber{namespace: ns, filter: filter, snapshot: func() (any, eventstore.Position) {
		views, at := a.Registry.SnapshotAll(ns)
		return wire.CatalogSnapshot{Position: wire.Position{Number: at}, Services: queries.ShowViews(views, filter)}, at
	}})
}

// subscriber is one who follows the catalog, or one service.
type subscriber struct {
	key       domain.ServiceKey // zero: every service
	namespace string            // "": every namespace
	filter    queries.InstanceFilter
	snapshot  func() (document any, at eventstore.Position)

	at eventstore.Position // it has been told of everything up to here
}

func (a *api) stream(c echo.Context, s *subscriber) error {
	for _, name := range []string{"at", "after", "index", "wait", "leases"} {
		if c.QueryParams().Has(name) {
			return invalidField(name, "does not go with a stream")
		}
	}
	after, resumed, err := a.resumeFrom(c)
	if err != nil {
		return err
	}
	if a.Stopping.Err() != nil {
		return eventstore.ErrClosed
	}
	changed, stop := a.Registry.Feed().Watch(s.key)
	defer stop()
	w := newSSE(c)
	if resumed {
		err = a.resume(c.Request().Context(), w, s, after)
	} else {
		err = s.start(w, sseSnapshot)
	}
	if err != nil {
		return a.streamBroke(err)
	}
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	breath := time.NewTimer(pace)
	defer breath.Stop()
	for {
		changes, ok := a.Registry.Feed().Since(s.key, s.at)
		if !ok {
			_ = w.send(s.at, sseCut, map[string]string{"reason": fmt.Sprintf("too slow: more than %d changes behind; resume with Last-Event-ID", feed.Capacity)})
			_ = w.flush()
			return nil
		}
		s.tell(w, changes)
		if err := w.flush(); err != nil {
			return nil // it is gone, or stopped reading
		}
		if len(changes) > 0 {
			breath.Reset(pace)
			<-breath.C
		}
		select {
		case <-changed:
		case <-quiet.C:
			w.comment("still here")
		case <-c.Request().Context().Done():
			return nil
		case <-a.Stopping.Done():
			return nil
		}
	}
}

// streamBroke cuts the connection: the status was sent long since.
func (a *api) streamBroke(err error) error {
	if !errors.Is(err, context.Canceled) {
		a.Logger.Error("stream broke", "cause", err)
	}
	panic(http.ErrAbortHandler)
}

func (s *subscriber) start(w *sse, name string) error {
	document, at := s.snapshot()
	s.at = at
	return w.send(at, name, document)
}

// resume tells what came after a position: from the feed, from the store, or if that is too much
// with a new snapshot.
func (a *api) resume(ctx context.Context, w *sse, s *subscriber, after eventstore.Position) error {
	s.at = after
	if _, ok := a.Registry.Feed().Since(s.key, after); ok {
		return nil
	}
	w.comment("catching up")
	if err := w.flush(); err != nil {
		return context.Canceled
	}
	upTo := a.Registry.Feed().Position()
	changes, ok, err := a.Past.Missed(ctx, s.key, after, upTo)
	if err != nil {
		return err
	}
	if !ok {
		return s.start(w, sseReset)
	}
	s.tell(w, changes)
	s.at = max(s.at, upTo)
	return nil
}

// tell sends the changes that the subscriber's filter picks.
func (s *subscriber) tell(w *sse, changes []*feed.Change) {
	for _, c := range changes {
		if c.Position() <= s.at {
			continue
		}
		s.at = c.Position()
		if s.namespace != "" && c.Service.Namespace != s.namespace {
			continue
		}
		if s.filter.Unfiltered() {
			w.buffer = append(w.buffer, c.Forms.Get(formatSSE, func() encoded.Form { return encodeChange(c) }).Bytes...)
			continue
		}
		if shown, ok := queries.ShowChange(c, s.filter); ok {
			_ = w.send(c.Position(), sseChange, shown) // it always has a form
		}
	}
}

// formatSSE is a change as it is told to subscribers without a filter.
const formatSSE = "sse"

func encodeChange(c *feed.Change) encoded.Form {
	shown, _ := queries.ShowChange(c, queries.InstanceFilter{})
	b, err := json.Marshal(shown)
	if err != nil {
		panic(err) // strings, numbers and times of ours
	}
	return encoded.Form{Bytes: appendSSE(nil, c.Position(), sseChange, b)}
}

// streamEvents is the log itself: what is asked for from ?from= or Last-Event-ID on, then what comes.
func (a *api) streamEvents(c echo.Context) error {
	filter, err := eventFilter(c)
	if err != nil {
		return err
	}
	for _, name := range []string{"to", "follow", "format", "after"} {
		if c.QueryParams().Has(name) {
			return invalidField(name, "does not go with a stream")
		}
	}
	after, resumed, err := a.resumeFrom(c)
	if err != nil {
		return err
	}
	if !resumed {
		if after, err = a.Store.Head(c.Request().Context()); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	defer context.AfterFunc(a.Stopping, cancel)()
	sub, err := a.Store.Subscribe(ctx, eventstore.SubscribeOptions{After: after, Filter: filter})
	if err != nil {
		return err
	}
	defer sub.Close()
	w := newSSE(c)
	if err := w.flush(); err != nil {
		return nil
	}
	instance := c.QueryParam("instance")
	var line []byte
	for {
		next, stop := context.WithTimeout(ctx, keepAlive)
		events, _, err := sub.Next(next)
		stop()
		switch {
		case ctx.Err() != nil || errors.Is(err, eventstore.ErrClosed):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			w.comment("still here")
		case err != nil:
			return a.streamBroke(err)
		}
		for i := range events {
			if !ofInstance(&events[i], instance) {
				continue
			}
			line = eventstore.AppendJSON(line[:0], &events[i])
			w.buffer = appendSSE(w.buffer, events[i].Position, sseEvent, line)
		}
		if err := w.flush(); err != nil {
			return nil
		}
	}
}
