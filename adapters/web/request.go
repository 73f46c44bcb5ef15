package web

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/labstack/echo/v4"
)

const requestIDKey = "rollcall.request-id"

// RequestIDs makes unique request ids. An id is a random text, made once for the process, and a number: every heartbeat
// needs an id, and a random number for each heartbeat would cost too much.
type RequestIDs struct {
	process string // random
	made    atomic.Uint64
}

// NewRequestIDs draws the random text of the process.
func NewRequestIDs() *RequestIDs {
	return &RequestIDs{process: strings.ToLower(rand.Text()[:20]) + "-"} // 100 bits
}

// Append appends a new id.
func (r *RequestIDs) Append(b []byte) []byte {
	return strconv.AppendUint(append(b, r.process...), r.made.Add(1), 10)
}

// Identify gives every request an id, which the reply names. The id is that of the request's header, if the header has a
// sane id.
func (r *RequestIDs) Identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !saneRequestID(id) {
			id = string(r.Append(nil))
		}
		c.Set(requestIDKey, id)
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

// RequestID is the id that Identify gave.
func RequestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// saneRequestID says whether an id needs no escapes in a log line and in an event.
func saneRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Panic is the error of a handler that panicked.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Recover turns a panic into an error: a bad request must not end the registry.
func Recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				err = &Panic{p, debug.Stack()}
			}
		}()
		return next(c)
	}
}
