//go:build unix && !linux

package lane

import "golang.org/x/sys/unix"

// Send writes to a socket that does not block.
func Send(fd int, b []byte) (n int, err error) { return unix.Write(fd, b) }
