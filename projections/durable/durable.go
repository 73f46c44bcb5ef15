// Package durable replaces small files atomically: a crash, a full disk or a loss of power leaves either the old file or the
// new file. It also refuses what is no folder, or no file, where one is needed.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile writes a file, and makes its folder where there is none. When it returns without an error, the content and the
// name are synced. After an error the file has its old content.
func WriteFile(path string, b []byte, mode os.FileMode) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Write is WriteFile with the content that write writes.
func Write(path string, mode os.FileMode, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }() // does nothing once the file has its name
	if err := write(f); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return SyncDir(dir)
}

// ReadFile reads a file that the program itself wrote. Anything else in its place, such as a folder or a pipe, is a damaged file.
func ReadFile(path string) ([]byte, error) {
	f, info, err := OpenRegular(path)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			err = Damaged{Path: path, Cause: errors.New("it is no file")}
		}
		return nil, err
	}
	defer f.Close()
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // which reads the file without growing
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Damaged is the error of a file whose content is not what was written: an earlier version stopped while it wrote the file,
// or the disk has changed it.
type Damaged struct {
	Path  string
	Cause error
}

func (d Damaged) Error() string { return fmt.Sprintf("%s is damaged: %v", d.Path, d.Cause) }
func (d Damaged) Unwrap() error { return d.Cause }
