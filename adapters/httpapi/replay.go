package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
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
	filter, err := eventFilter(c)
	if err != nil {
		return err
	}
	after, before, err := a.span(c)
	if err != nil {
		return err
	}
	follow, err := parseBool("follow", or(c.QueryParam("follow"), "false"))
	if err != nil {
		return err
	}
	if follow && before != 0 {
		return invalidField("follow", "must not be used with to")
	}
	w := &replay{c: c, encode: eventstore.AppendJSON}
	contentType := "application/x-ndjson"
	switch format := c.QueryParam("format"); {
	case format == "cloudevents" || format == "" && strings.Contains(c.Request().Header.Get("Accept"), "cloudevents"):
		contentType, w.encode = "application/cloudevents+json", a.appendCloudEvent
	case format != "" && format != "json":
		return invalidField("format", "must be json or cloudevents")
	}
	c.Response().Header().Set("Content-Type", contentType)
	c.Response().Header().Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	ctx := c.Request().Context()
	if follow {
		return w.follow(ctx, a.Stopping, a.Store, eventstore.SubscribeOptions{After: after, Filter: filter})
	}
	to := eventstore.Position(0)
	if before > 0 {
		to = before - 1
	}
	if before == 1 {
		return nil // up to before the first event: nothing
	}
	for e, err := range a.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: after, To: to, Filter: filter}) {
		if err != nil {
			return w.broken(err)
		}
		if err := w.write(&e); err != nil {
			return nil // the client is gone
		}
	}
	_ = w.flush()
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// eventFilter reads ns, service, instance, type and heartbeats.
func eventFilter(c echo.Context) (f eventstore.Filter, err error) {
	for name := range c.QueryParams() {
		switch name {
		case "ns", "service", "instance", "type", "heartbeats", "from", "to", "after", "follow", "format":
		default:
			return f, invalidField(name, "is not a known filter")
		}
	}
	if f.Types, err = eventTypes(c); err != nil {
		return f, err
	}
	heartbeats, err := parseBool("heartbeats", or(c.QueryParam("heartbeats"), "false"))
	if err != nil {
		return f, err
	}
	heartbeats = heartbeats || slices.Contains(f.Types, domain.TypeHeartbeatReceived)
	f.StreamPrefixes, err = eventstore.Prefixes(c.QueryParam("ns"), c.QueryParam("service"), c.QueryParam("instance"), heartbeats)
	return f, err
}

// ofInstance says whether an event is of the instance asked for ("": any): a stream's prefix picks those
// whose ids begin alike, too.
func ofInstance(e *eventstore.RecordedEvent, id string) bool {
	if id == "" {
		return true
	}
	key, ok := e.Stream.InstanceKey()
	return ok && key.ID == id
}

// replay writes events in chunks, each of which the client must take in time.
type replay struct {
	c      echo.Context
	encode func([]byte, *eventstore.RecordedEvent) []byte
	buffer []byte
}

func (w *replay) write(e *eventstore.RecordedEvent) error {
	if !ofInstance(e, w.c.QueryParam("instance")) {
		return nil
	}
	w.buffer = append(w.encode(w.buffer, e), '\n')
	if len(w.buffer) < replayChunk {
		return nil
	}
	return w.flush()
}

func (w *replay) flush() error {
	patience(w.c, replayTimeout)
	_, err := w.c.Response().Write(w.buffer)
	w.buffer = w.buffer[:0]
	w.c.Response().Flush()
	return err
}

// broken ends a replay that cannot go on. The status is sent long since, so the connection is cut:
// a client must not take a part for the whole.
func (w *replay) broken(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	_ = w.flush()
	panic(http.ErrAbortHandler)
}

// follow goes on with events as they come, until the client leaves or the server stops.
func (w *replay) follow(ctx, stopping context.Context, store eventstore.Store, opts eventstore.SubscribeOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stopping, cancel)()
	sub, err := store.Subscribe(ctx, opts)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := w.flush(); err != nil { // the headers, so that the client knows it is on
		return nil
	}
	for {
		events, _, err := sub.Next(ctx)
		if err != nil {
			return nil
		}
		for i := range events {
			if err := w.write(&events[i]); err != nil {
				return nil
			}
		}
		if err := w.flush(); err != nil {
			return nil
		}
	}
}

// appendCloudEvent writes the event in the JSON form of CloudEvents 1.0.
func (a *api) appendCloudEvent(b []byte, e *eventstore.RecordedEvent) []byte {
	encoded, err := queries.EncodeCloudEvent(a.StoreID, e)
	if err != nil {
		a.Logger.Error("event has no CloudEvents form", "position", e.Position, "cause", err)
		return append(b, "{}"...)
	}
	return append(b, encoded...)
}
