package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// How many requests of each kind are worked on at once, and how long one waits for its turn. Under more
// than that lookups and registrations are shed, heartbeats last: losing heartbeats would empty the
// catalog. Streams, long polls and operators' routes are not counted: they cost next to nothing.
const (
	lookupsAtOnce    = 256
	commandsAtOnce   = 512
	heartbeatsAtOnce = 16_384
	turnTimeout      = 2 * time.Second
	mayWait          = 8_192 // of each kind; a further one is refused at once
)

// admission lets in a bounded number of requests of one kind.
type admission struct {
	working chan struct{} // holds a token for each that is worked on
	waiting chan struct{} // holds a token for each that waits
}

func newAdmission(n int) *admission {
	return &admission{working: make(chan struct{}, n), waiting: make(chan struct{}, mayWait)}
}

// tryEnter takes a turn if there is one.
func (a *admission) tryEnter() bool {
	select {
	case a.working <- struct{}{}:
		return true
	default:
		return false
	}
}

// enter waits for a turn; false: there is none in time.
func (a *admission) enter(gone <-chan struct{}) bool {
	if a.tryEnter() {
		return true
	}
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return false
	}
	t := time.NewTimer(turnTimeout)
	defer t.Stop()
	select {
	case a.working <- struct{}{}:
		return true
	case <-t.C:
		return false
	case <-gone:
		return false
	}
}

func (a *admission) leave() { <-a.working }

// admitted sheds load before it hurts.
func (a *api) admitted(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		kind := a.lookupTurns
		switch path := c.Path(); {
		case strings.HasSuffix(path, "/heartbeat"), path == "/v1/heartbeats":
			kind = a.heartbeatTurns
		case c.Request().Method != http.MethodGet:
			kind = a.commandTurns
		case !strings.HasPrefix(path, "/v1/"), strings.HasPrefix(path, "/v1/streams/"), path == "/v1/events":
			return next(c)
		case c.Request().URL.RawQuery != "" && (c.QueryParam("wait") != "" || c.QueryParam("index") != ""):
			return next(c)
		}
		if !kind.enter(c.Request().Context().Done()) {
			return problem(http.StatusServiceUnavailable, "overloaded", "The registry is overloaded", "too many requests of this kind at once; try again")
		}
		defer kind.leave()
		return next(c)
	}
}
