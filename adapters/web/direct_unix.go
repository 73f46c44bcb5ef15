//go:build unix

package web

import (
	"syscall"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// beDirect finds the way to write without waiting. The descriptors of connections do not block.
func (w *Chunks) beDirect() {
	conn, ok := w.conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	w.raw, w.write = raw, func(fd uintptr) {
		if n, err := socket.Send(int(fd), w.rest); err == nil {
			w.rest = w.rest[n:]
		}
	}
}
