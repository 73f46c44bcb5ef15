package httpapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// streamTimeout is within what a subscriber must take what it is sent.
const streamTimeout = 30 * time.Second

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

func appendSSE(b []byte, id wire.Position, name string, data []byte) []byte {
	b = append(b, "id: "...)
	b = id.Append(b)
	b = append(b, "\nevent: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...) // JSON without newlines is one line
	b = append(b, data...)
	return append(b, "\n\n"...)
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
