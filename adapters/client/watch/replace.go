package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/client/internal/regular"
)

// unfinished ends the names of files that are to replace another, behind a number.
const unfinished = ".tmp"

// replaceFile replaces a file atomically, and syncs it.
func replaceFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_ = lock(f) // so that sweep leaves it alone; where there are no locks, nothing is swept
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	return renameOpen(f, path)
}

// sweep removes what is left of processes that were killed while they replaced a file. What another process writes now is locked.
func sweep(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the write of the file says why
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		number, ends := strings.CutSuffix(number, unfinished)
		if _, err := strconv.ParseUint(number, 10, 64); !ours || !ends || err != nil {
			continue
		}
		name := filepath.Join(filepath.Dir(path), e.Name())
		f, err := regular.Open(name)
		if err != nil {
			continue
		}
		if lock(f) == nil {
			_ = os.Remove(name)
		}
		_ = f.Close()
	}
}
