package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

const (
	replayChunk   = 64 << 10         // bytes that are sent at once
	replayTimeout = 30 * time.Second // within which a client must take a chunk
)

// events replays the log: NDJSON, one event a line, in position order. Heartbeats are in it when
// they are asked for.
func (a *api) events(c echo.Context) error {
	selection, err := queries.ParseSelection(c.QueryParams(), "from", "to", "after", "follow", "format")
	if err != nil {
		return err
	}
	selection.Visible = visible(c)
	follow, err := queries.ParseBool("follow", or(c.QueryParam("follow"), "false"))
	if err != nil {
		return err
	}
	if follow && c.QueryParam("to") != "" {
		return invalidField("follow", "must not be used with to")
	}
	w := &replay{c: c, outgoing: a.outgoing, contentType: "application/x-ndjson", encode: eventstore.AppendJSON}
	switch format := c.QueryParam("format"); {
	case format == "cloudevents" || format == "" && web.Accepts(c.Request(), "cloudevents"):
		w.contentType, w.encode = "application/cloudevents+json", a.appendCloudEvent
	case format != "" && format != "json":
		return invalidField("format", "must be json or cloudevents")
	}
	span, err := a.Queries.Span(c.Request().Context(), c.QueryParam("from"), c.QueryParam("to"))
	if err != nil {
		return err
	}
	if follow {
		return a.followEvents(w, selection, span)
	}
	for e, err := range a.Queries.Events(c.Request().Context(), selection, span) {
		if err == nil {
			err = a.still(w.c)
		}
		if err == nil {
			err = w.write(&e)
		}
		if err != nil {
			return err
		}
	}
	return w.flush()
}

// followEvents goes on with events as they come. Such a reply has no end: when the client leaves, the
// registry stops or something breaks, the transfer is aborted.
func (a *api) followEvents(w *replay, selection queries.Selection, span queries.Span) error {
	ctx := w.c.Request().Context()
	following, err := a.Queries.FollowEvents(ctx, selection, span)
	if err != nil {
		return err
	}
	defer following.Close()
	if err := w.flush(); err != nil { // the headers, so that the client knows that it is subscribed
		return err
	}
	for {
		update, err := following.Next(ctx)
		if err == nil {
			err = a.still(w.c)
		}
		if err != nil {
			return err
		}
		switch u := update.(type) {
		case queries.Events:
			for i := range u {
				if err := w.write(&u[i]); err != nil {
					return err
				}
			}
			if err := w.flush(); err != nil {
				return err
			}
		case queries.Cut:
			return eventstore.ErrClosed
		}
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// replay writes events in chunks, each of which the client must take in time. The reply begins with the
// first chunk, so that what fails before has a status of its own.
type replay struct {
	c           echo.Context
	outgoing    *web.Outgoing
	done        func() // ends the turn in which a chunk is made and written; nil: there is none
	contentType string
	encode      func([]byte, *eventstore.RecordedEvent) []byte
	buffer      []byte
}

func (w *replay) write(e *eventstore.RecordedEvent) error {
	if w.done == nil {
		w.done = w.outgoing.Work()
	}
	w.buffer = append(w.encode(w.buffer, secrets(w.c).Show(e)), '\n')
	if len(w.buffer) < replayChunk {
		return nil
	}
	return w.flush()
}

func (w *replay) flush() error {
	r := w.c.Response()
	if !r.Committed {
		r.Header().Set("Content-Type", w.contentType)
		r.Header().Set("X-Accel-Buffering", "no")
		r.WriteHeader(http.StatusOK)
	}
	extendWriteDeadline(w.c, replayTimeout)
	_, err := r.Write(w.buffer)
	w.buffer = w.buffer[:0]
	r.Flush()
	if w.done != nil {
		w.done()
		w.done = nil
	}
	return err
}

// appendCloudEvent writes the event in the JSON form of CloudEvents 1.0.
func (a *api) appendCloudEvent(b []byte, e *eventstore.RecordedEvent) []byte {
	encoded, err := queries.EncodeCloudEvent(a.Queries.StoreID, e)
	if err != nil {
		a.Logger.Error("event has no CloudEvents form", "position", e.Position, "cause", err)
		return append(b, "{}"...)
	}
	return append(b, encoded...)
}
