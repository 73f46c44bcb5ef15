//go:build unix

package raftstore

import (
	"net"
	"syscall"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// direct writes to a plain connection what it takes at once, without having the runtime's monitor woken (see package socket).
type direct struct{ conn syscall.RawConn }

// directOf is the way to write to a connection; nil: there is none, because it is not a plain one.
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
