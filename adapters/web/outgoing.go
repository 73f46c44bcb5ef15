package web

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/labstack/echo/v4"
)

const (
	// LargeBody is the length in bytes from which on a reply counts against the limit of an Outgoing. The replies to
	// batches of 1,000 heartbeats are shorter.
	LargeBody = 128 << 10
	// turnBody is the length in bytes from which on a tagged reply is written in turns. Hundreds of clients may wait for
	// the same change, and to write their replies all at once would keep all processors busy.
	turnBody = 16 << 10
	// slowestRate is how many bytes a second a client must read of a large reply, once writeTimeout is over.
	slowestRate = 256 << 10
	// slowAfter is the time after which a large reply may be cut off, so that another reply can begin.
	slowAfter = 2 * time.Second
	// capacityTimeout is how long a large reply waits for free capacity.
	capacityTimeout = 5 * time.Second
	capacityEvery   = 100 * time.Millisecond // between two checks of the capacity
	piece           = 64 << 10               // bytes that are written at once
	// takesLong is how long the writing of a piece counts as work. A reader that does not read makes it longer.
	takesLong = time.Millisecond
	// mostUnused is how many bodies are kept for later replies.
	mostUnused = 16
)

// Outgoing bounds the memory of the large replies that are being written, and the processors that write them. A body that
// many replies send counts once. When the capacity is used up, Outgoing cuts off the replies whose clients take longest,
// so that slow clients harm only themselves.
//
// INVARIANT: a body counts from the first Begin to the last End of its replies. The body must not change in that time.
type Outgoing struct {
	limit   int           // most bytes of bodies; a single body may be larger
	writing chan struct{} // holds a token for each piece that is being written

	mu      sync.Mutex
	bodies  map[*byte]*body
	bytes   int           // of bodies
	waiting int           // bytes of the replies that wait for capacity
	freed   chan struct{} // closed when bytes become free; nil: nobody waits for them
	unused  []*body       // for bodies to come
}

// body is the body of one or more replies.
type body struct {
	size    int
	replies []*Reply // in no order
}

// Reply is a large reply that is being written. The caller must call End.
type Reply struct {
	outgoing *Outgoing
	first    *byte
	began    time.Time
	cut      func() // makes the next write fail
	at       int    // in the body's replies
}

// NewOutgoing makes an Outgoing with a capacity of limit bytes.
func NewOutgoing(limit int) *Outgoing {
	return &Outgoing{limit: limit, writing: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), bodies: make(map[*byte]*body)}
}

const outgoingKey = "rollcall.outgoing"

// Bound lets large replies count against the limit.
func (o *Outgoing) Bound(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set(outgoingKey, o)
		return next(c)
	}
}

// answerLarge sends a large body: in pieces, if Bound is in the chain of the route.
func answerLarge(c echo.Context, status int, kind string, body []byte) error {
	o, ok := c.Get(outgoingKey).(*Outgoing)
	if !ok {
		return c.Blob(status, kind, body)
	}
	r, err := o.Begin(c, body)
	if err != nil {
		c.Response().Header().Del("Content-Length")
		return err
	}
	defer r.End()
	c.Response().Header().Set("Content-Type", kind)
	c.Response().WriteHeader(status)
	return r.Write(c, body)
}

// inTurns sends a body in turns, without counting its bytes.
func inTurns(c echo.Context, status int, kind string, body []byte) error {
	o, ok := c.Get(outgoingKey).(*Outgoing)
	if !ok {
		return c.Blob(status, kind, body)
	}
	c.Response().Header().Set("Content-Type", kind)
	done := o.Work()
	defer done()
	c.Response().WriteHeader(status)
	_, err := c.Response().Write(body)
	return err
}

// Begin waits until there is capacity for a large body. The client must read the body within a time that depends on the
// size of the body.
func (o *Outgoing) Begin(c echo.Context, body []byte) (*Reply, error) {
	deadlines := http.NewResponseController(c.Response())
	r := &Reply{outgoing: o, first: unsafe.SliceData(body), cut: func() { _ = deadlines.SetWriteDeadline(time.Unix(1, 0)) }}
	if err := o.admit(c.Request().Context(), r, len(body)); err != nil {
		return nil, err
	}
	// A writer without deadlines (a test's recorder) has no timeout to extend.
	_ = deadlines.SetWriteDeadline(r.began.Add(writeTimeout + time.Duration(len(body)/slowestRate)*time.Second))
	return r, nil
}

// LaneReply is a large reply of a connection whose requests the lane answers. It is used for one reply after another, so that
// a reply takes no memory of its own.
type LaneReply struct {
	Reply
	body  []byte
	usage *Account // of the caller
}

// Of makes the reply one that sends a body to a caller, who has taken one of Requests for it. REQUIRES: the reply before has ended, or
// did not begin.
func (r *LaneReply) Of(o *Outgoing, body []byte, usage *Account) *LaneReply {
	r.Reply = Reply{outgoing: o, first: unsafe.SliceData(body)}
	r.body, r.usage = body, usage
	return r
}

// Begin lets the reply begin if there is capacity now, and charges the caller for the body. Otherwise the server answers, and counts the
// request: what the caller has taken is given back. cut makes the write of the reply fail; it may be called from any goroutine until
// End returns.
func (r *LaneReply) Begin(cut func()) bool {
	r.cut = cut
	size := len(r.body)
	if !r.outgoing.enter(&r.Reply, size) {
		r.usage.GiveBack(Requests)
		r.body = nil
		return false
	}
	r.usage.Charge(Bytes, size)
	return true
}

// End ends the reply.
func (r *LaneReply) End() {
	r.Reply.End()
	r.body = nil
}

func (o *Outgoing) admit(ctx context.Context, r *Reply, size int) error {
	if o.enter(r, size) {
		return nil
	}
	if !o.wait(size) {
		return overloadedByReplies()
	}
	defer o.wait(-size)
	looks := time.NewTicker(capacityEvery)
	defer looks.Stop()
	timeout := time.NewTimer(capacityTimeout)
	defer timeout.Stop()
	for {
		freed := o.whenFreed()
		if o.enter(r, size) {
			return nil
		}
		select {
		case <-freed:
		case <-looks.C:
		case <-timeout.C:
			return overloadedByReplies()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// whenFreed is closed when bytes become free after this call.
func (o *Outgoing) whenFreed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.freed == nil {
		o.freed = make(chan struct{})
	}
	return o.freed
}

// wait counts the bytes that wait for capacity. At most half of the limit may wait. A negative size always fits.
func (o *Outgoing) wait(size int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if size > 0 && o.waiting > 0 && o.waiting+size > o.limit/2 {
		return false
	}
	o.waiting += size
	return true
}

func overloadedByReplies() error {
	return NewProblem(http.StatusServiceUnavailable, "overloaded", "The registry is overloaded", "too many large replies are on their way; try again")
}

// enter lets a reply begin if there is capacity. Otherwise enter cuts off the slowest replies, so that a later call can
// succeed.
func (o *Outgoing) enter(r *Reply, size int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	b := o.bodies[r.first]
	if b == nil {
		if o.bytes > 0 && o.bytes+size > o.limit {
			o.cutSlowest(now)
			return false
		}
		if n := len(o.unused); n > 0 {
			b, o.unused = o.unused[n-1], o.unused[:n-1]
		} else {
			b = new(body)
		}
		b.size = size
		o.bodies[r.first] = b
		o.bytes += size
	}
	r.began, r.at = now, len(b.replies)
	b.replies = append(b.replies, r)
	return true
}

// cutSlowest cuts off all replies with one body: the body whose newest reply began first. REQUIRES: mu is held.
func (o *Outgoing) cutSlowest(now time.Time) {
	var slowest *body
	oldest := now.Add(-slowAfter)
	for _, b := range o.bodies {
		newest := time.Time{}
		for _, r := range b.replies {
			if r.began.After(newest) {
				newest = r.began
			}
		}
		if newest.Before(oldest) {
			slowest, oldest = b, newest
		}
	}
	if slowest == nil {
		return
	}
	for _, r := range slowest.replies {
		r.cut()
	}
}

// Write writes a part of the body in pieces.
func (r *Reply) Write(c echo.Context, part []byte) error {
	for len(part) > 0 {
		n := min(len(part), piece)
		done := r.outgoing.Work()
		_, err := c.Response().Write(part[:n])
		done()
		if err != nil {
			return err
		}
		part = part[n:]
	}
	return nil
}

// Work waits for a turn to make or write a piece of a large body. The turn ends with done, or after takesLong: a write that
// takes longer waits for the client and uses no processor.
func (o *Outgoing) Work() (done func()) {
	o.writing <- struct{}{}
	over := time.AfterFunc(takesLong, func() { <-o.writing })
	return func() {
		if over.Stop() {
			<-o.writing
		}
	}
}

// End frees the bytes of the reply's body, unless another reply sends the same body.
func (r *Reply) End() {
	o := r.outgoing
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.bodies[r.first]
	last := len(b.replies) - 1
	b.replies[r.at] = b.replies[last]
	b.replies[r.at].at = r.at
	b.replies[last] = nil
	b.replies = b.replies[:last]
	if last > 0 {
		return
	}
	delete(o.bodies, r.first)
	o.bytes -= b.size
	if len(o.unused) < mostUnused {
		o.unused = append(o.unused, b)
	}
	if o.freed != nil {
		close(o.freed)
		o.freed = nil
	}
}
