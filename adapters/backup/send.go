package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// eventsFolder is the event store's folder in a data folder.
const eventsFolder = "events"

// scratchPrefix begins the names of the folders in which a backup makes links to files.
const scratchPrefix = "backup-scratch-"

// Checkpointer makes a consistent copy of a folder, with links instead of copies where the file system allows it.
type Checkpointer interface {
	Checkpoint(dir string) error
}

// Store is what a backup needs of the event store.
type Store interface {
	Checkpointer
	ID() uuid.UUID
	// Durable is the position up to which events are synced.
	Durable() eventstore.Position
}

// Source has the parts of a backup: the event store, other folders that can be copied while they are used, and small files.
type Source struct {
	Store   Store
	Folders map[string]Checkpointer // by name in the data folder
	// Files are paths of small files below Data, or patterns of such paths. A path without a file is left out.
	Files []string
	Data  string // the data folder, which also holds the links while a backup is written
	Now   func() time.Time
}

// Sweep removes what backups that were killed have left in a data folder. REQUIRES: no backup is under way.
func Sweep(data string) error {
	left, err := filepath.Glob(filepath.Join(data, scratchPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// Write writes the backup as a tar archive. Tables that the receiver has, with the same name, size and checksum, are left out.
// The manifest comes last, so an archive without a manifest is not complete.
func (s Source) Write(w io.Writer, have []File) (err error) {
	scratch, err := os.MkdirTemp(s.Data, scratchPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	m := Manifest{StoreID: s.Store.ID(), CreatedAt: s.Now().UTC(), Position: s.Store.Durable()}
	for name, folder := range s.Folders {
		if err := folder.Checkpoint(filepath.Join(scratch, name)); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	if err := s.Store.Checkpoint(filepath.Join(scratch, eventsFolder)); err != nil {
		return fmt.Errorf("copy the event store: %w", err)
	}
	a := sender{archive: tar.NewWriter(w), manifest: &m, have: map[string]File{}}
	for _, f := range have {
		a.have[f.Name] = f
	}
	if err := a.addFolder(scratch); err != nil {
		return err
	}
	if err := a.addFiles(s.Data, s.Files); err != nil {
		return err
	}
	m.Sum = m.sum()
	encoded, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := a.archive.WriteHeader(&tar.Header{Name: ManifestName, Mode: 0o600, Size: int64(len(encoded)), ModTime: m.CreatedAt}); err != nil {
		return err
	}
	_, err = a.archive.Write(encoded)
	return errors.Join(err, a.archive.Close())
}

// sender writes the files of a backup to an archive.
type sender struct {
	archive  *tar.Writer
	manifest *Manifest
	have     map[string]File
}

func (a *sender) addFolder(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return a.add(filepath.ToSlash(name), path)
	})
}

func (a *sender) addFiles(data string, patterns []string) error {
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			name, err := filepath.Rel(data, path)
			if err != nil {
				return err
			}
			if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && pattern != name {
				continue // nothing that the registry has written
			}
			// A small file may be replaced or removed meanwhile.
			if err := a.add(filepath.ToSlash(name), path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// isTable says whether a file is a table of the engine, or has values that a table refers to.
func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

func (a *sender) add(name, path string) error {
	f, info, err := durable.OpenRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	file := File{Name: name, Size: info.Size()}
	// A table never changes, but a table of another store, or a table that was written after a restore, may have the same
	// name and size.
	if had := a.have[name]; isTable(name) && had.Size == file.Size {
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) == had.SHA256 {
			file.SHA256 = had.SHA256
			a.manifest.Files = append(a.manifest.Files, file)
			return nil
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if err := a.archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: file.Size, ModTime: info.ModTime()}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(a.archive, sum), io.LimitReader(f, file.Size)); err != nil {
		return err
	}
	file.SHA256 = hex.EncodeToString(sum.Sum(nil))
	a.manifest.Files = append(a.manifest.Files, file)
	return nil
}
