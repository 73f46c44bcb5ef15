//go:build unix

package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Conn reads and writes a TCP connection by calls of this package (ADR 148). Where the socket is not ready, it waits as the connection does,
// under the connection's deadlines. One goroutine at a time may read, and one may write.
type Conn struct {
	tcp           *net.TCPConn
	raw           syscall.RawConn
	receive, send func(fd uintptr) (done bool) // made once, for each would take memory for each call

	// Of the read under way, and of the write under way.
	into       []byte
	received   int
	receiveErr error
	unsent     []byte
	sendErr    error
}

// Of gives a Conn of a connection; nil: the connection is not TCP alone.
func Of(c net.Conn) *Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	made := &Conn{tcp: tcp, raw: raw}
	made.receive, made.send = made.receiveNow, made.sendNow
	return made
}

// Read is the connection's Read, with the connection's errors. REQUIRES: p is not empty.
func (c *Conn) Read(p []byte) (n int, err error) {
	c.into = p
	err = c.raw.Read(c.receive)
	c.into = nil
	switch {
	case err != nil: // the connection is closed or its deadline is over, which it tells in its own words
		return c.tcp.Read(p)
	case c.receiveErr != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.tcp.LocalAddr(), Addr: c.tcp.RemoteAddr(), Err: os.NewSyscallError("read", c.receiveErr)}
	case c.received == 0:
		return 0, io.EOF
	}
	return c.received, nil
}

// Write is the connection's Write. REQUIRES: p is not empty.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.unsent, c.sendErr = p, nil
	if err = c.raw.Write(c.send); err == nil {
		err = c.sendErr
	}
	n = len(p) - len(c.unsent)
	c.unsent = nil
	return n, err
}

func (c *Conn) receiveNow(fd uintptr) (done bool) {
	for {
		if c.received, c.receiveErr = Receive(int(fd), c.into); c.receiveErr != syscall.EINTR {
			return c.receiveErr != syscall.EAGAIN
		}
	}
}

func (c *Conn) sendNow(fd uintptr) (done bool) {
	for len(c.unsent) > 0 {
		n, err := Send(int(fd), c.unsent)
		switch {
		case err == nil:
			c.unsent = c.unsent[n:]
		case err == syscall.EAGAIN:
			return false
		case err != syscall.EINTR:
			c.sendErr = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}
