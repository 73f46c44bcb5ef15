//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package durable

import (
	"errors"
	"os"
	"syscall"
)

// Lock locks a file or a folder until f is closed or the process ends, where its file system can. Another process, or another call, that has
// it locked gives ErrLocked.
func Lock(f *os.File) error {
	// A file system over the network may have no lock for a folder, and then gives another error.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return nil
}
