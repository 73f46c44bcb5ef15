package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckFiles looks through a folder before a program opens files of it by other ways than OpenRegular: for a pipe, a socket or a device in
// the place of a file, whose opening or reading may wait for ever. Folders are passed over, and so is a folder that does not exist.
func CheckFiles(dir string) error {
	if err := CheckFolder(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path, mode := filepath.Join(dir, e.Name()), e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(path)
			if err != nil {
				continue // opening it fails at once
			}
			mode = info.Mode().Type()
		}
		if !mode.IsRegular() && !mode.IsDir() {
			return fmt.Errorf("%s %w", path, ErrNotRegular)
		}
	}
	return err
}
