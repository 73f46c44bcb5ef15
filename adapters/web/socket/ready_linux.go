package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ready says what an epoll descriptor has to tell now.
func Ready(epoll int, events []unix.EpollEvent) (n int, err error) {
	return result(unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0))
}

func result(got, _ uintptr, errno unix.Errno) (n int, err error) {
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
