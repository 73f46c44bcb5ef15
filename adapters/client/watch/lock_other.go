//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package watch

import (
	"errors"
	"os"
)

// lock fails: the system has no lock that ends with its process.
func lock(*os.File) error { return errors.ErrUnsupported }

// renameOpen closes a file and then renames it, since some systems rename no open file.
func renameOpen(f *os.File, to string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
