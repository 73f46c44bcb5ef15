// Package regular opens files that are files.
package regular

import (
	"fmt"
	"os"
	"syscall"
)

// Open opens a file to read it. A pipe or a device in its place is refused, of which an opening or a read would wait or have no end.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		_ = f.Close() // nothing was read
		return nil, err
	}
	return f, nil
}
