package httpapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

const (
	// streamTimeout is within what a subscriber must take what it is sent. The deadline in force may be later by
	// streamSlack, so that it is not set anew for each event.
	streamTimeout = 30 * time.Second
	streamSlack   = 10 * time.Second
	// flushAt is from how many bytes on events are handed over.
	flushAt = 64 << 10
	// keptBuffer is up to how many bytes an idle subscriber keeps its buffer.
	keptBuffer = 16 << 10
)

// sse writes server-sent events (WHATWG HTML, section 9.2). The reply begins with what is flushed first, so that
// what fails before has a status of its own.
type sse struct {
	c      echo.Context
	buffer []byte      // begins with web.ChunkHead bytes, which are no part of an event
	chunks *web.Chunks // the way to the subscriber; nil: through net/http
	until  time.Time   // the write deadline is streamTimeout after this; zero: the deadline is another
}

func newSSE(c echo.Context) *sse { return &sse{c: c, buffer: noEvent()} }

func noEvent() []byte { return make([]byte, web.ChunkHead) }

func (s *sse) begin() {
	r := s.c.Response()
	if r.Committed {
		return
	}
	h := r.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	r.WriteHeader(http.StatusOK)
}

func appendSSE(b []byte, id wire.Position, name string, data []byte) []byte {
	b = append(openSSE(b, id, name), data...) // JSON without newlines is one line
	return append(b, "\n\n"...)
}

// openSSE begins an event, up to its data.
func openSSE(b []byte, id wire.Position, name string) []byte {
	b = append(b, "id: "...)
	b = id.Append(b)
	b = append(b, "\nevent: "...)
	b = append(b, name...)
	return append(b, "\ndata: "...)
}

func (s *sse) send(id wire.Position, name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	s.buffer = appendSSE(s.buffer, id, name, b)
	return nil
}

// cut tells the subscriber why its stream ends.
func (s *sse) cut(at wire.Position, reason string) error {
	if err := s.send(at, wire.StreamCut, wire.Cut{Reason: reason}); err != nil {
		return err
	}
	return s.flush()
}

// flush hands over what was sent. It fails when the subscriber is gone or does not take it in time.
func (s *sse) flush() error {
	if s.chunks == nil {
		s.begin()
		s.extend()
		return s.flushThrough()
	}
	s.extend()
	if len(s.buffer) == web.ChunkHead {
		return nil
	}
	chunk := web.SealChunk(s.buffer)
	s.buffer = chunk // its memory may be another now
	err := s.chunks.Write(chunk)
	s.clear()
	return err
}

// share hands over an event whose bytes are shared with other subscribers.
func (s *sse) share(event web.Chunk) error {
	if s.chunks == nil || len(s.buffer) > web.ChunkHead {
		return s.add(event.Bytes())
	}
	s.extend()
	return s.chunks.Write(event)
}

// direct says whether try can hand over something.
func (s *sse) direct() bool {
	return s.chunks != nil && s.chunks.Direct() && len(s.buffer) == web.ChunkHead
}

// try hands over events without waiting. false: rest is to be called. REQUIRES: direct.
func (s *sse) try(changes queries.Changes) bool {
	if len(changes) == 1 {
		return s.chunks.Try(encodeChange(changes[0]))
	}
	for _, change := range changes {
		s.buffer = append(s.buffer, encodeChange(change).Bytes()...)
	}
	chunk := web.SealChunk(s.buffer)
	s.buffer = chunk
	defer s.clear()
	return s.chunks.Try(chunk)
}

// rest hands over what try has left.
func (s *sse) rest() error {
	if s.chunks == nil || !s.chunks.Left() {
		return nil
	}
	s.extend()
	return s.chunks.SendRest()
}

// extend sees to it that the subscriber has streamTimeout from now on.
func (s *sse) extend() {
	if now := time.Now(); now.After(s.until) {
		s.until = now.Add(streamSlack)
		extendWriteDeadline(s.c, streamTimeout+streamSlack)
	}
}

// flushThrough hands over what was sent through net/http. From then on there may be a shorter way.
func (s *sse) flushThrough() error {
	_, err := s.c.Response().Write(s.buffer[web.ChunkHead:])
	s.clear()
	if err != nil {
		return err
	}
	s.c.Response().Flush()
	s.chunks = web.ChunksOf(s.c)
	return nil
}

func (s *sse) clear() {
	if s.buffer = s.buffer[:web.ChunkHead]; cap(s.buffer) > keptBuffer {
		s.buffer = noEvent()
	}
}

// add sends what is encoded, and hands it over together with other small events.
func (s *sse) add(event []byte) error {
	if s.buffer = append(s.buffer, event...); len(s.buffer) < flushAt {
		return nil
	}
	return s.flush()
}

// sendAll sends an event whose data are shared with other subscribers. Large data are not copied.
func (s *sse) sendAll(outgoing *web.Outgoing, id wire.Position, name string, data []byte) error {
	if len(data) < web.LargeBody {
		s.buffer = appendSSE(s.buffer, id, name, data)
		return s.flush()
	}
	reply, err := outgoing.Begin(s.c, data)
	if err != nil {
		return err
	}
	defer reply.End()
	s.until = time.Time{} // the reply has a deadline of its own
	s.begin()
	s.chunks = nil
	s.buffer = openSSE(s.buffer, id, name)
	if err := reply.Write(s.c, s.buffer[web.ChunkHead:]); err != nil {
		return err
	}
	s.clear()
	if err := reply.Write(s.c, data); err != nil {
		return err
	}
	s.buffer = append(s.buffer, "\n\n"...)
	return s.flush()
}

func (s *sse) comment(text string) {
	s.buffer = append(append(append(s.buffer, ": "...), text...), "\n\n"...)
}
