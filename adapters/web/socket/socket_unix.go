//go:build unix && !linux

package socket

import "golang.org/x/sys/unix"

// Send writes to a socket that does not block.
func Send(fd int, b []byte) (n int, err error) { return unix.Write(fd, b) }

// Receive reads from a socket that does not block. At the end of the connection n is 0, without an error.
func Receive(fd int, b []byte) (n int, err error) { return unix.Read(fd, b) }
