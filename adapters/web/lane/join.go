//go:build linux

package lane

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// join puts the connection into the loop and waits until it leaves. It gives the bytes that the loop read last and did not answer, or the
// error of the loop's read. REQUIRES: the goroutine that serves the connection calls join in a read of the whole buffer, between two
// requests.
func (c *conn) join(buffer []byte) (n int, err error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || len(buffer) > serverBuffer {
		c.joinAfter = never
		return 0, nil
	}
	if !c.state.CompareAndSwap(open, busy) {
		return 0, net.ErrClosed
	}
	fd, err := duplicate(tcp)
	if err != nil {
		c.joinAfter = never // the connection stays where it is
		return 0, c.rest(nil)
	}
	m := &member{conn: c, joinedAfter: c.joinAfter, buffer: buffer, fd: fd, heard: time.Now(), back: make(chan handback, 1)}
	m.flight.Store(inFlight)
	if m.loop, err = c.lane.enter(m); err != nil {
		_ = unix.Close(fd)
		c.joinAfter = never
		return 0, c.rest(nil)
	}
	c.swap(&joined{tcp, m})
	_ = tcp.Close() // the socket stays open for the duplicate
	c.done()        // false: the connection is being closed, which the loop notices
	c.lane.joined.Add(1)
	if m.watch(unix.EPOLL_CTL_ADD) == nil {
		m.release()
	} else {
		m.handBack(handback{})
	}
	return c.leave(m, <-m.back)
}

// leave takes the connection back. INVARIANT: the connection is busy or closing, unless it is closed.
func (c *conn) leave(m *member, h handback) (n int, err error) {
	c.until, c.sequence = time.Time{}, 0
	if c.joinAfter = firstJoin; m.answered < 2*m.joinedAfter {
		c.joinAfter = min(2*m.joinedAfter, lastJoin)
	}
	m.mu.Lock()
	fd := m.fd
	m.fd = -1
	m.mu.Unlock()
	switch {
	case c.state.Load() == closed:
		_ = unix.Close(fd)
		return 0, net.ErrClosed
	case h.err != nil: // the server closes the connection
		_ = unix.Close(fd)
		return 0, c.rest(h.err)
	}
	back, err := connectionOf(fd)
	if err == nil {
		c.swap(back)
		err = back.SetReadDeadline(m.heard.Add(idleTimeout))
	}
	if err == nil && len(h.unsent) > 0 {
		_ = back.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err = back.Write(h.unsent)
		_ = back.SetWriteDeadline(time.Time{})
	}
	err = c.rest(err)
	if h.panic != nil {
		panic(h.panic) // net/http logs it, and closes the connection
	}
	return h.read, err
}

// rest ends the busy state, and gives the error, or net.ErrClosed where the connection is closed.
func (c *conn) rest(err error) error {
	if !c.done() {
		return net.ErrClosed
	}
	return err
}

// swap puts another connection into the place of conn.Conn. REQUIRES: the conn is busy or closing.
func (c *conn) swap(by net.Conn) {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	c.Conn, c.socket = by, nil
}

func duplicate(tcp *net.TCPConn) (fd int, err error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dupErr error
	err = raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dupErr)
}

// connectionOf makes a connection of a descriptor, which it closes.
func connectionOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	return net.FileConn(f)
}
