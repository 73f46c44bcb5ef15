//go:build unix

package lane

import (
	"io"
	"net"
	"os"
	"syscall"
)

// watch waits until a byte has come or the client has closed the connection. It takes no byte from the connection, and
// returns 0 without an error when a byte has come. buffer is memory for one byte.
func watch(c *net.TCPConn, buffer []byte) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		n, _, peekErr = syscall.Recvfrom(int(fd), buffer, syscall.MSG_PEEK)
		return peekErr != syscall.EAGAIN && peekErr != syscall.EINTR
	})
	switch {
	case err != nil:
		return 0, err
	case peekErr != nil:
		return 0, os.NewSyscallError("recvfrom", peekErr)
	case n == 0:
		return 0, io.EOF
	}
	return 0, nil
}
