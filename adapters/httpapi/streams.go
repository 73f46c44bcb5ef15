package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// streamService is a service as it is, and its changes from there on.
func (a *api) streamService(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	return a.stream(c, queries.FollowQuery{Service: key})
}

// streamCatalog is everything as it is, or the services that are named, and the changes from there on.
func (a *api) streamCatalog(c echo.Context) error {
	ns := c.QueryParam("ns")
	services, err := queries.ParseFollowed(ns, c.QueryParams()["service"])
	if err != nil {
		return err
	}
	return a.stream(c, queries.FollowQuery{Namespace: queries.OneNamespace(ns), Services: services, Visible: visible(c)})
}

// subscriber is who made a request for a stream.
type subscriber struct {
	api *api
	c   echo.Context
	ctx context.Context // of the request
	who *web.Identity   // as the context has it, where to look takes longer
}

func (a *api) subscriber(c echo.Context) *subscriber {
	return &subscriber{a, c, c.Request().Context(), web.IdentityOf(c)}
}

// next waits for the next update of a stream, and refuses it to a caller who has lost the right meanwhile.
func (s *subscriber) next(following interface {
	Next(context.Context) (queries.Update, error)
}) (queries.Update, error) {
	update, err := following.Next(s.ctx)
	if err == nil && !s.who.Still() {
		err = s.api.identifyAgain(s.c)
		s.who = web.IdentityOf(s.c)
	}
	if err != nil {
		return nil, err
	}
	return update, nil
}

func (a *api) stream(c echo.Context, q queries.FollowQuery) (err error) {
	if q.Filter, err = queries.ParseInstanceFilter(c.QueryParams(), "ns", "from", "service"); err != nil {
		return err
	}
	if q.After, err = resumeFrom(c); err != nil {
		return err
	}
	s := &stream{subscriber: a.subscriber(c), w: newSSE(c)}
	s.mu.Lock()
	defer s.end()
	q.Tell = s.tell
	if s.following, err = a.Queries.Follow(c.Request().Context(), q); err != nil {
		return err
	}
	defer s.following.Close()
	if q.After != nil || c.Request().Method == http.MethodHead { // there is no snapshot that may be refused
		if err := s.w.flush(); err != nil {
			return err
		}
	}
	for {
		update, err := s.subscriber.next(s)
		if err != nil {
			return err
		}
		switch u := update.(type) {
		case queries.Snapshot:
			name := wire.StreamSnapshot
			if u.Reset {
				name = wire.StreamReset
			}
			err = s.w.sendAll(a.outgoing, a.Queries.At(u.At), name, u.JSON.Bytes)
		case queries.Changes:
			if len(u) == 1 {
				err = s.w.share(encodeChange(u[0]))
				break
			}
			for _, change := range u {
				if err = s.w.add(encodeChange(change).Bytes()); err != nil {
					return err
				}
			}
		case queries.Panics:
			err = s.w.send(a.Queries.At(u.At), wire.StreamPanic, u.Panic)
		case queries.KeepAlive:
			s.w.comment(u.Note)
		case queries.Cut:
			return s.w.cut(a.Queries.At(u.At), u.Reason)
		}
		if err == nil {
			err = s.w.flush()
		}
		if err != nil {
			return err
		}
	}
}

// resumeFrom is the position after which a subscriber goes on: that of Last-Event-ID, which a browser sends
// when it reconnects, before ?from=. It is nil when the subscriber begins anew.
func resumeFrom(c echo.Context) (after *wire.Position, err error) {
	field, text := "Last-Event-ID", c.Request().Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "from", c.QueryParam("from")
	}
	if text == "" {
		return nil, nil
	}
	p, err := wire.ParsePosition(field, text)
	return &p, err
}

// Formats of a change as it is told to subscribers. All who are told to put the instance share one encoding,
// and all who are told to delete it share the other.
const (
	formatPut    = "sse put"
	formatDelete = "sse delete"
)

// encodeChange gives the change as an event, in a chunk of its own.
func encodeChange(c queries.Changed) web.Chunk {
	format := formatDelete
	if c.Put {
		format = formatPut
	}
	return web.Chunk(c.Forms.Get(format, func() encoded.Form {
		b, err := json.Marshal(c.Show())
		if err != nil {
			panic(err) // strings, numbers and times of ours
		}
		return encoded.Form{Bytes: web.SealChunk(appendSSE(noEvent(), c.At(), wire.StreamChange, b))}
	}).Bytes)
}

// streamEvents is the log itself: what is asked for from ?from= or Last-Event-ID on, then what comes.
func (a *api) streamEvents(c echo.Context) error {
	selection, err := queries.ParseSelection(c.QueryParams(), "from")
	if err != nil {
		return err
	}
	selection.Visible = visible(c)
	ctx := c.Request().Context()
	field, text := "Last-Event-ID", c.Request().Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "from", c.QueryParam("from")
	}
	span, err := a.Queries.Resume(ctx, field, text)
	if err != nil {
		return err
	}
	following, err := a.Queries.FollowEvents(ctx, selection, span)
	if err != nil {
		return err
	}
	defer following.Close()
	w, subscriber := newSSE(c), a.subscriber(c)
	if err := w.flush(); err != nil {
		return err
	}
	var line []byte
	for {
		update, err := subscriber.next(following)
		if err != nil {
			return err
		}
		switch u := update.(type) {
		case queries.Events:
			for i := range u {
				line = eventstore.AppendJSON(line[:0], secrets(c).Show(&u[i]))
				w.buffer = appendSSE(w.buffer, wire.PositionOf(&u[i]), wire.StreamEvent, line)
				if err := w.add(nil); err != nil {
					return err
				}
			}
		case queries.KeepAlive:
			w.comment(u.Note)
		case queries.Cut:
			return w.cut(a.Queries.At(u.At), u.Reason)
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
}
