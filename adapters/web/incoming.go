package web

import (
	"io"

	"github.com/labstack/echo/v4"
)

// shortBody is how many bytes of a body are read without a turn.
const shortBody = 64 << 10

// Incoming is the body of a request on its way. The request has no turn meanwhile: a client that sends its body slowly, or not at
// all, keeps no other from being handled. What follows the first 64 KiB is read in a turn for long bodies (Turns.Long), so that the
// memory of bodies is bounded.
type Incoming struct {
	body io.Reader
	own  *turn // of the request; nil: it has none to give back
	gone <-chan struct{}

	read    int  // bytes that were read without a turn
	long    bool // the body has a turn for long bodies
	refused error
}

// Read begins to read a body. The caller closes the result.
func Read(c echo.Context, body io.Reader) *Incoming {
	in := &Incoming{body: body, gone: c.Request().Context().Done()}
	if t, ok := c.Get(turnKey).(*turn); ok && t.held && t.turns.Long != nil && c.Request().ContentLength != 0 {
		t.leave()
		in.own = t
	}
	return in
}

// Read implements io.Reader.
func (in *Incoming) Read(p []byte) (int, error) {
	if in.own == nil || in.long {
		return in.body.Read(p)
	}
	if in.read == shortBody {
		if in.refused = in.own.turns.Long.enter(in.gone); in.refused != nil {
			return 0, in.refused
		}
		in.long = true
		return in.body.Read(p)
	}
	n, err := in.body.Read(p[:min(len(p), shortBody-in.read)])
	in.read += n
	return n, err
}

// Resume waits for the request's own turn, after the whole body was read.
func (in *Incoming) Resume() error {
	in.Close()
	if in.own == nil || in.own.held {
		return nil
	}
	err := in.own.turns.enter(in.gone)
	in.own.held = err == nil
	return err
}

// Refused says why no turn for long bodies was given; nil: the body needed none, or got it.
func (in *Incoming) Refused() error { return in.refused }

// Close gives the turn for long bodies back.
func (in *Incoming) Close() {
	if in.long {
		in.long = false
		in.own.turns.Long.Leave()
	}
}
