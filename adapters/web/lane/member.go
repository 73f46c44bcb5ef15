//go:build linux

package lane

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// member is a connection in a loop.
type member struct {
	conn   *conn
	loop   *loop
	buffer []byte        // the server's buffer, in which the read of the goroutine that waits gets what was read last
	back   chan handback // gets one value, when the member leaves

	flight atomic.Int32 // idle, inFlight or again
	heard  time.Time    // when the newest request came

	joinedAfter, answered int // requests before it joined, and since

	mu sync.Mutex // guards fd against a close by the goroutine while another shuts the socket down
	fd int        // -1: the loop has no descriptor of the connection any more
}

// The states of a member. again: there are more bytes to read, or the client has closed the connection.
const (
	idle int32 = iota
	inFlight
	again
)

// handback is what a loop hands back with a connection.
type handback struct {
	read   int    // bytes of a request in the server's buffer
	unsent []byte // of a reply
	err    error  // of a read, io.EOF at the end of the connection; nil: the connection goes on
	panic  any    // of a Batch; nil: there was none
}

// joined stands in conn.Conn while the connection is in a loop. It has the connection's addresses.
type joined struct {
	net.Conn // closed
	member   *member
}

// Close implements net.Conn: the loop notices, and the goroutine that waits closes the descriptor.
func (j *joined) Close() error {
	j.member.mu.Lock()
	defer j.member.mu.Unlock()
	if j.member.fd < 0 {
		return nil
	}
	return unix.Shutdown(j.member.fd, unix.SHUT_RDWR)
}

// watch has epoll tell of what comes from now on, and of what is there already.
func (m *member) watch(operation int) error {
	return unix.EpollCtl(m.loop.epoll, operation, m.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(m.fd)})
}

// take makes an idle member the caller's. A member in flight is told to look again.
func (m *member) take() bool {
	for {
		switch {
		case m.flight.CompareAndSwap(idle, inFlight):
			return true
		case m.flight.CompareAndSwap(inFlight, again), m.flight.Load() == again:
			return false
		}
	}
}

// release makes the caller's member idle.
func (m *member) release() {
	if m.flight.CompareAndSwap(inFlight, idle) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flight.Store(idle)
	if m.fd >= 0 {
		_ = m.watch(unix.EPOLL_CTL_MOD) // epoll tells again of what came meanwhile
	}
}

// handBack hands the caller's member back to its goroutine.
func (m *member) handBack(h handback) {
	l := m.loop
	l.lane.joining.Lock()
	delete(l.members, int32(m.fd))
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, m.fd, nil)
	if len(l.members) == 0 {
		_ = l.file.SetReadDeadline(time.Unix(1, 0)) // wakes run to its end
	}
	l.lane.joining.Unlock()
	m.conn.state.CompareAndSwap(open, busy) // the goroutine ends that
	m.back <- h
}
