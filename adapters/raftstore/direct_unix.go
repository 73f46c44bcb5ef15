//go:build unix

package raftstore

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// direct writes to a plain connection what it takes at once, and reads from it without having the runtime's monitor woken (see package
// socket).
type direct struct{ conn syscall.RawConn }

// directOf is the way to write to a connection and to read from it; nil: there is none, because it is not a plain one.
func directOf(c net.Conn) *direct {
	if c, ok := c.(*net.TCPConn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return &direct{raw}
		}
	}
	return nil
}

// write says how many bytes the connection took. What is wrong with a connection that took less, its goroutine finds out.
func (d *direct) write(b []byte) (n int) {
	_ = d.conn.Write(func(fd uintptr) bool {
		n, _ = socket.Send(int(fd), b)
		return true
	})
	return max(n, 0)
}

// Read implements io.Reader.
func (d *direct) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	failed := d.conn.Read(func(fd uintptr) bool {
		n, err = socket.Receive(int(fd), b)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, os.NewSyscallError("recv", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// readerOf reads from a connection.
func readerOf(c net.Conn) io.Reader {
	if d := directOf(c); d != nil {
		return d
	}
	return c
}
