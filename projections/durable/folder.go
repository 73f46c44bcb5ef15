package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckFolder says why no folder can be made or used at a path where the system's own error would not: a symbolic link that leads
// nowhere, which neither can be read nor be made, or a file. It gives nil where a folder is, or nothing.
func CheckFolder(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if to, linked := os.Readlink(path); linked == nil {
			return fmt.Errorf("%s is a symbolic link to %s, which does not exist", path, to)
		}
		return nil
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is no folder", path)
	}
	return err
}
