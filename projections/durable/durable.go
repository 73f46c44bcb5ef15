// Package durable writes small files so that a crash, a full disk or a lost power supply leaves either
// the file as it was or the file as it is to be, and nothing between.
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile replaces a file, or makes it, and its folder where there is none. When it returns without an
// error, the content and the name are synced. On an error the file is as it was.
func WriteFile(path string, b []byte, mode os.FileMode) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Write is WriteFile of what write writes.
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

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Damaged says that a file is not what was written: an earlier version was cut short while it wrote the file, or the
// disk has changed it.
type Damaged struct {
	Path  string
	Cause error
}

func (d Damaged) Error() string { return fmt.Sprintf("%s is damaged: %v", d.Path, d.Cause) }
func (d Damaged) Unwrap() error { return d.Cause }
