package web

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	turnTimeout = 2 * time.Second // how long a request waits for its turn
	mayWait     = 8_192           // requests of a kind that may wait; a further request is refused at once
	tellEvery   = 200 * time.Millisecond
)

// Turns bounds how many requests of a kind are handled at once. Further requests wait for turnTimeout at most, and are then
// refused.
type Turns struct {
	working chan struct{} // holds a token for each request that has a turn
	waiting chan struct{} // holds a token for each request that waits
	// OnRefused is called for each request that is refused; nil: no call. OnRefused must be set before the first request.
	OnRefused func()
	// OnWaiting is called every 200 ms for each request that waits; nil: no call. It is set as OnRefused.
	OnWaiting func()
	// Patient has requests wait for as long as their clients are there. REQUIRES: something else bounds how many wait. It is set as OnRefused.
	Patient bool
	// Long has turns for the reading of bodies of over 64 KiB, which requests of this kind have in place of their own meanwhile. nil: requests keep their
	// own turns while they read bodies. It is set as OnRefused.
	Long *Turns
}

// NewTurns makes Turns with n turns.
func NewTurns(n int) *Turns {
	return &Turns{working: make(chan struct{}, n), waiting: make(chan struct{}, mayWait)}
}

// TryEnter takes a turn if a turn is free.
func (t *Turns) TryEnter() bool {
	select {
	case t.working <- struct{}{}:
		return true
	default:
		return false
	}
}

// Leave gives a turn back.
func (t *Turns) Leave() { <-t.working }

// Enter waits for a turn.
func (t *Turns) Enter() error { return t.enter(nil) }

// enter waits for a turn, or until the client is gone.
func (t *Turns) enter(gone <-chan struct{}) error {
	if t.TryEnter() {
		return nil
	}
	if t.Patient {
		select {
		case t.working <- struct{}{}:
			return nil
		case <-gone:
			return t.refuse()
		}
	}
	select {
	case t.waiting <- struct{}{}:
		defer func() { <-t.waiting }()
	default:
		return t.refuse()
	}
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	for {
		select {
		case t.working <- struct{}{}:
			return nil
		case <-tell.C:
			if t.OnWaiting != nil {
				t.OnWaiting()
			}
		case <-timer.C:
			return t.refuse()
		case <-gone:
			return t.refuse()
		}
	}
}

func (t *Turns) refuse() error {
	if t.OnRefused != nil {
		t.OnRefused()
	}
	return NewProblem(http.StatusServiceUnavailable, "overloaded", "The registry is overloaded", "too many requests of this kind at once; try again")
}

// turn is the turn of a request. Only the request's goroutine uses a turn.
type turn struct {
	turns *Turns
	held  bool
}

const turnKey = "rollcall.turn"

// Admit handles a request in a turn. The turn ends when the handler returns, or before that with Leave or Pause.
func (t *Turns) Admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := t.enter(c.Request().Context().Done()); err != nil {
			return err
		}
		own := &turn{t, true}
		c.Set(turnKey, own)
		defer own.leave()
		return next(c)
	}
}

func (t *turn) leave() {
	if t.held {
		t.held = false
		t.turns.Leave()
	}
}

// Leave gives the request's turn back, if the request has a turn. A handler calls Leave when the reply is made: a slow
// client may take long to read the reply.
func Leave(c echo.Context) {
	if t, ok := c.Get(turnKey).(*turn); ok {
		t.leave()
	}
}

// Switch gives the request's turn back and waits for one of another kind: the request turned out to be of that.
func (t *Turns) Switch(c echo.Context) error {
	own, ok := c.Get(turnKey).(*turn)
	if !ok {
		return nil
	}
	own.leave()
	err := t.enter(c.Request().Context().Done())
	own.turns, own.held = t, err == nil
	return err
}

// Pause gives the request's turn back while the request waits for an event. resume waits for another turn.
func Pause(c echo.Context) (resume func() error) {
	t, ok := c.Get(turnKey).(*turn)
	if !ok || !t.held {
		return func() error { return nil }
	}
	t.leave()
	return func() error {
		err := t.turns.enter(c.Request().Context().Done())
		t.held = err == nil
		return err
	}
}
