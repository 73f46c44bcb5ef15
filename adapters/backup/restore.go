package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// restoringPrefix begins the names of folders with restored files, until all files are there. Beside the data folder, the name of the data
// folder and a number follow.
const restoringPrefix = ".restoring-"

// Restore copies a backup into a data folder, and checks every file. REQUIRES: the data folder is empty or absent. finish is
// called with the folder that has all files, before it gets its name; finish may read the files and add others. After an
// error, also when the context ends, the data folder is empty or absent as before.
func Restore(ctx context.Context, dir, data string, progress func(bytes, total int64), finish func(folder string, m Manifest) error) (m Manifest, err error) {
	m, ok, err := ReadManifest(dir)
	if err == nil && !ok {
		err = noBackup(dir)
	}
	if err != nil {
		return m, err
	}
	existed, err := claim(data)
	if err != nil {
		return m, err
	}
	// An existing folder may be a mount, and files cannot be renamed from one file system to another.
	beside, prefix := filepath.Dir(filepath.Clean(data)), restoringPrefix+filepath.Base(filepath.Clean(data))+"-"
	if existed {
		beside, prefix = data, restoringPrefix
	}
	if err := os.MkdirAll(beside, 0o750); err != nil {
		return m, err
	}
	if err := removeLeft(beside, prefix); err != nil {
		return m, err
	}
	folder, err := os.MkdirTemp(beside, prefix)
	if err != nil {
		return m, err
	}
	release, err := lock(folder)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, release()) }()
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }() // after a success the folder has its new name, and nothing is removed
	if err := copyFiles(ctx, dir, folder, m, progress); err != nil {
		return m, err
	}
	if err := finish(folder, m); err != nil {
		return m, err
	}
	if existed {
		return m, moveUp(folder, data)
	}
	if err := os.Chmod(folder, 0o750); err != nil {
		return m, err
	}
	if err := os.Rename(folder, data); err != nil {
		return m, err
	}
	return m, durable.SyncDir(beside)
}

// removeLeft removes what restores of the same data folder have left that were killed: copies of the events and of the keys.
func removeLeft(beside, prefix string) error {
	entries, err := os.ReadDir(beside)
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), prefix); !ok || !e.IsDir() || strings.Trim(number, "0123456789") != "" {
			continue
		}
		path := filepath.Join(beside, e.Name())
		release, err := lock(path)
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("another restore into the same data folder is under way, in %s", path)
		}
		if err == nil {
			err = errors.Join(os.RemoveAll(path), release())
		}
		if err != nil {
			return err
		}
	}
	return err
}

// claim refuses a data folder that is not empty, but for what a restore that was killed has left.
func claim(data string) (existed bool, err error) {
	if err := durable.CheckFolder(data); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), restoringPrefix) || !e.IsDir() {
			return true, fmt.Errorf("%s is not empty: a backup is restored into a new folder only", data)
		}
	}
	return true, nil
}

// moveUp moves a folder's content into its parent. It moves the event store last, because a data folder without an event store
// does not count as complete.
func moveUp(folder, data string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	last := func(e os.DirEntry) bool { return e.Name() == eventsFolder }
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int {
		switch {
		case last(a) == last(b):
			return 0
		case last(a):
			return 1
		}
		return -1
	})
	for _, e := range entries {
		if err := os.Rename(filepath.Join(folder, e.Name()), filepath.Join(data, e.Name())); err != nil {
			return err
		}
	}
	return durable.SyncDir(data)
}

func copyFiles(ctx context.Context, dir, folder string, m Manifest, progress func(bytes, total int64)) error {
	var done, total int64
	for _, f := range m.Files {
		total += f.Size
	}
	made := map[string]bool{}
	for _, f := range m.Files {
		to := filepath.Join(folder, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		made[filepath.Dir(to)] = true
		if err := copyFile(ctx, dir, to, f); err != nil {
			return err
		}
		done += f.Size
		progress(done, total)
	}
	for made := range made {
		if err := durable.SyncDir(made); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(ctx context.Context, dir, to string, f File) error {
	in, err := f.open(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	sum, err := writeSynced(to, reading{ctx, io.LimitReader(in, f.Size+1)}) // it may grow while it is read
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return fmt.Errorf("the backup's file %s is damaged: its checksum is wrong", f.Name)
	}
	return nil
}
