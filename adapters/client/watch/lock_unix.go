//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package watch

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file until it is closed, or its process ends. An error: another process has it, or the file system knows no locks.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// renameOpen renames a file and then closes it.
func renameOpen(f *os.File, to string) error {
	return errors.Join(os.Rename(f.Name(), to), f.Close())
}
