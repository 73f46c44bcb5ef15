//go:build linux

package lane

import (
	"bytes"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// round is what a loop has read at once: requests of different members.
//
// INVARIANT: run owns a round until it starts the round's goroutine, which then owns it until end.
type round struct {
	loop    *loop
	turn    bool // the round holds a turn of the loop
	began   time.Time
	ready   []readyMember
	buffer  []byte    // the requests, one behind the other; as it grows, earlier requests stay where they are
	members []*member // of the requests, in flight
	raw     [][]byte  // the requests
	kinds   []Kind    // of the requests
	batch   Batch     // has the requests, too
	reply   []byte    // the newest reply
}

// end makes the round ready for other requests.
func (r *round) end() {
	r.batch.Reset()
	for _, kind := range r.kinds {
		if kind == Registration {
			r.loop.lane.registering.Add(-1)
		}
	}
	clear(r.ready)
	clear(r.members)
	r.ready, r.members, r.raw, r.kinds, r.buffer = r.ready[:0], r.members[:0], r.raw[:0], r.kinds[:0], r.buffer[:0]
	if r.turn {
		<-r.loop.turns
	}
	r.loop.rounds.Put(r)
}

// read reads a request of a member that is in flight, and adds it to the round if the Batch takes it. A read that fills the
// server's buffer may have left bytes.
func (r *round) read(m *member, ending bool) {
	defer func() {
		if p := recover(); p != nil {
			m.handBack(handback{panic: p})
		}
	}()
	scratch := r.loop.scratch[:len(m.buffer)]
	n, err := socket.Receive(m.fd, scratch)
	switch {
	case err == unix.EAGAIN:
		m.release()
		return
	case err == unix.EINTR:
		m.flight.Store(again)
		m.release()
		return
	case err != nil:
		m.handBack(handback{err: os.NewSyscallError("read", err)})
		return
	case n == 0:
		m.handBack(handback{err: io.EOF})
		return
	}
	r.buffer = append(r.buffer, scratch[:n]...)
	raw := r.buffer[len(r.buffer)-n : len(r.buffer) : len(r.buffer)]
	m.heard = r.began
	if n == len(m.buffer) || !r.add(m, raw) {
		m.handBack(handback{read: copy(m.buffer, raw)})
		return
	}
	if ending { // release has epoll tell of it again
		m.flight.Store(again)
	}
	m.answered++
	r.members, r.raw = append(r.members, m), append(r.raw, raw)
}

// add adds a request to the batch, if it is a plain one that the Face and the Batch take. Then the connection is busy.
func (r *round) add(m *member, raw []byte) bool {
	c := m.conn
	request, ok := readPlain(raw, false)
	if !ok || !request.kind.together() || !c.allows(request.host) || !c.state.CompareAndSwap(open, busy) {
		return false
	}
	if !c.face.Authorize(request.authorization, request.via) || !r.batch.Add(c.face, request.kind, request.Subject, request.body) {
		return false
	}
	r.kinds = append(r.kinds, request.kind)
	if request.kind == Registration {
		r.loop.lane.registering.Add(1)
	}
	return true
}

// carryOut carries out the requests of the round and writes the replies.
func (r *round) carryOut() {
	next := 0 // the members before it are answered or handed back
	defer func() {
		if p := recover(); p != nil {
			for _, m := range r.members[next:] {
				m.handBack(handback{panic: p})
			}
		}
		r.end()
	}()
	r.batch.Send()
	for ; next < len(r.members); next++ {
		r.answer(next)
	}
}

func (r *round) answer(i int) {
	m, lane := r.members[i], r.loop.lane
	reply, mine := r.batch.Reply(i)
	if !mine {
		m.handBack(handback{read: copy(m.buffer, r.raw[i])})
		return
	}
	lane.answered.Add(1)
	r.reply = append(lane.appendHeaders(r.reply[:0], &reply, r.began), reply.Body...)
	n, err := socket.Send(m.fd, r.reply)
	if lane.options.Observe != nil {
		lane.options.Observe(r.kinds[i], reply.Status, time.Since(r.began))
	}
	c := m.conn
	switch {
	case err == unix.EAGAIN || err == unix.EINTR || err == nil && n < len(r.reply):
		m.handBack(handback{unsent: bytes.Clone(r.reply[max(n, 0):])})
	case err != nil:
		c.done()
		_ = c.Close()
		m.handBack(handback{})
	case !c.done():
		m.handBack(handback{})
	default:
		m.release()
	}
}
