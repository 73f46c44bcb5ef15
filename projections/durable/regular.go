package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is OpenRegular's error for a pipe, a device or a folder in the place of a file.
var ErrNotRegular = errors.New("is no file")

// OpenRegular opens a file to read it. A pipe or a device in its place is refused, of which a read would wait or have no end.
func OpenRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, nil, err
	}
	return f, info, nil
}
