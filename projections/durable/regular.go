package durable

import (
	"errors"
	"fmt"
	"io"
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

// MaxRegular is how long a file may be that ReadRegular reads, in bytes: far more than settings, keys and lists of revoked certificates need.
const MaxRegular = 16 << 20

// ReadRegular reads a whole file that a person or another program wrote. Other files than regular ones are refused, as OpenRegular does, and so
// are longer files than MaxRegular: a wrong name must not fill the memory.
func ReadRegular(path string) ([]byte, error) { return ReadAtMost(path, MaxRegular) }

// ReadAtMost is ReadRegular of a file that has another limit, in bytes.
func ReadAtMost(path string, most int) ([]byte, error) {
	f, _, err := OpenRegular(path)
	if errors.Is(err, ErrNotRegular) {
		err = fmt.Errorf("%s %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s must have at most %d bytes", path, most)
	}
	return b, err
}
