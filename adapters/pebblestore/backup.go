package pebblestore

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// BackupFile is a file of a backup.
type BackupFile struct {
	Name   string `json:"name"` // with its folder, e.g. events/000012.sst
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

// ManifestName is the backup's last file: what it consists of.
const ManifestName = "manifest.json"

// Manifest is what a backup consists of.
type Manifest struct {
	StoreID   uuid.UUID           `json:"store_id"`
	Position  eventstore.Position `json:"position,string"` // of the newest event in it, at least
	CreatedAt time.Time           `json:"created_at"`
	Files     []BackupFile        `json:"files"`
}

// Checkpointer makes a consistent copy of a folder.
type Checkpointer interface {
	Checkpoint(dir string) error
}

// Backup is what goes into a backup: the event store, other folders that can be copied while they are
// used, and single files.
type Backup struct {
	Store   *Store
	Folders map[string]Checkpointer // by name
	Files   []string                // paths; those that are not there are left out
	Scratch string                  // a folder on the same file system, for links
}

// Write writes the backup as a tar archive. Tables that the receiver has, by name and size, are left
// out: they never change. The manifest comes last, so an archive without one is not whole.
func (b Backup) Write(w io.Writer, have []BackupFile) (err error) {
	scratch, err := os.MkdirTemp(b.Scratch, "backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	m := Manifest{StoreID: b.Store.ID(), CreatedAt: time.Now().UTC(), Position: eventstore.Position(b.Store.durable.Load())}
	for name, folder := range b.Folders {
		if err := folder.Checkpoint(filepath.Join(scratch, name)); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	if err := b.Store.Checkpoint(filepath.Join(scratch, eventsFolder)); err != nil {
		return fmt.Errorf("copy the event store: %w", err)
	}
	archive := tar.NewWriter(w)
	err = filepath.WalkDir(scratch, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(scratch, path)
		if err != nil {
			return err
		}
		return m.add(archive, filepath.ToSlash(name), path, have)
	})
	if err != nil {
		return err
	}
	for _, path := range b.Files {
		if err := m.add(archive, filepath.Base(path), path, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	encoded, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: ManifestName, Mode: 0o600, Size: int64(len(encoded)), ModTime: m.CreatedAt}); err != nil {
		return err
	}
	_, err = archive.Write(encoded)
	return errors.Join(err, archive.Close())
}

func (m *Manifest) add(archive *tar.Writer, name, path string, have []BackupFile) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file := BackupFile{Name: name, Size: info.Size()}
	if strings.HasSuffix(name, ".sst") {
		if i := slices.IndexFunc(have, func(h BackupFile) bool { return h.Name == name && h.Size == file.Size }); i >= 0 {
			m.Files = append(m.Files, file) // the receiver has its sum
			return nil
		}
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: file.Size, ModTime: info.ModTime()}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(archive, sum), io.LimitReader(f, file.Size)); err != nil {
		return err
	}
	file.SHA256 = hex.EncodeToString(sum.Sum(nil))
	m.Files = append(m.Files, file)
	return nil
}

// ReadManifest reads a backup's manifest; without one it is empty, and ok is false.
func ReadManifest(dir string) (m Manifest, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, false, fmt.Errorf("backup manifest: %w", err)
	}
	return m, true, nil
}

// Receive takes an archive that Write wrote into a folder, beside what the folder has of earlier ones.
// The folder's manifest is replaced last; until then the earlier backup is whole.
func Receive(r io.Reader, dir string, progress func(bytes int64)) (m Manifest, err error) {
	before, _, err := ReadManifest(dir)
	if err != nil {
		return m, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return m, err
	}
	archive := tar.NewReader(r)
	received := map[string]string{} // name → where it is until the end
	total := int64(0)
	for {
		header, err := archive.Next()
		if err != nil {
			return m, fmt.Errorf("the backup broke off before its manifest: %w", err)
		}
		if !filepath.IsLocal(header.Name) {
			return m, fmt.Errorf("the backup names a file outside of it: %q", header.Name)
		}
		if header.Name == ManifestName {
			if err := json.NewDecoder(archive).Decode(&m); err != nil {
				return m, fmt.Errorf("backup manifest: %w", err)
			}
			break
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name)) + ".new"
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return m, err
		}
		if err := writeSynced(path, archive, nil); err != nil {
			return m, err
		}
		received[header.Name] = path
		total += header.Size
		progress(total)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the archive's end, and the sender's
		return m, fmt.Errorf("the backup broke off: %w", err)
	}
	if before.StoreID != uuid.Nil && before.StoreID != m.StoreID {
		return m, fmt.Errorf("the folder holds a backup of store %s, this is %s", before.StoreID, m.StoreID)
	}
	wanted := map[string]bool{ManifestName: true}
	for i := range m.Files {
		f := &m.Files[i]
		wanted[f.Name] = true
		if f.SHA256 == "" { // it was here
			j := slices.IndexFunc(before.Files, func(h BackupFile) bool { return h.Name == f.Name && h.Size == f.Size })
			if j < 0 {
				return m, fmt.Errorf("the backup leaves out %s, which is not here", f.Name)
			}
			f.SHA256 = before.Files[j].SHA256
		}
	}
	for _, path := range received {
		if err := os.Rename(path, strings.TrimSuffix(path, ".new")); err != nil {
			return m, err
		}
	}
	encoded, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	path := filepath.Join(dir, ManifestName)
	if err := durable.WriteFile(path, encoded, 0o640); err != nil {
		return m, err
	}
	return m, removeOthers(dir, wanted)
}

// removeOthers deletes what a backup no longer consists of.
func removeOthers(dir string, wanted map[string]bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || wanted[filepath.ToSlash(name)] {
			return err
		}
		return os.Remove(path)
	})
}

func writeSynced(path string, r io.Reader, sum hash.Hash) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := io.Writer(f)
	if sum != nil {
		w = io.MultiWriter(f, sum)
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// Restored is what a restore came to.
type Restored struct {
	Manifest
	Began domain.TimelineBegan // the timeline on which the restored store goes on
}

// The names of the event store's folder in a backup, and where a restore builds it.
const (
	eventsFolder  = "events"
	beingRestored = "events.restoring"
)

// Restore copies a backup into a data folder that must be empty or absent, checks every file, and has the store
// begin a timeline. The event store gets its name last: a restore that broke off leaves a folder that no registry
// starts on.
func Restore(ctx context.Context, dir, data string, progress func(bytes, total int64)) (r Restored, err error) {
	if r.Manifest, err = copyBackup(dir, data, progress); err != nil {
		return r, err
	}
	if r.Began, err = leaveTimeline(ctx, filepath.Join(data, beingRestored), r.Manifest); err != nil {
		return r, err
	}
	if err := os.Rename(filepath.Join(data, beingRestored), filepath.Join(data, eventsFolder)); err != nil {
		return r, err
	}
	return r, durable.SyncDir(data)
}

// leaveTimeline has a restored store begin a timeline.
func leaveTimeline(ctx context.Context, events string, m Manifest) (began domain.TimelineBegan, err error) {
	s, err := Open(events, Options{})
	if err != nil {
		return began, fmt.Errorf("the restored store does not open: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if head := eventstore.Position(s.durable.Load()); s.ID() != m.StoreID || head < m.Position {
		return began, fmt.Errorf("the restored store ends at position %d, the backup was made at %d", head, m.Position)
	}
	return s.BeginTimeline(ctx, domain.TimelineBegan{Reason: domain.Restored, Backup: &m.CreatedAt})
}

func copyBackup(dir, data string, progress func(bytes, total int64)) (m Manifest, err error) {
	m, ok, err := ReadManifest(dir)
	if err == nil && !ok {
		err = fmt.Errorf("%s holds no backup: there is no %s", dir, ManifestName)
	}
	if err != nil {
		return m, err
	}
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if len(entries) > 0 {
		return m, fmt.Errorf("%s is not empty: a backup is restored into a new folder only", data)
	}
	var done, total int64
	for _, f := range m.Files {
		total += f.Size
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Name) {
			return m, fmt.Errorf("the backup names a file outside of it: %q", f.Name)
		}
		to := filepath.Join(data, filepath.FromSlash(f.Name))
		if table, ok := strings.CutPrefix(f.Name, eventsFolder+"/"); ok {
			to = filepath.Join(data, beingRestored, filepath.FromSlash(table))
		}
		if err := restoreFile(filepath.Join(dir, filepath.FromSlash(f.Name)), to, f); err != nil {
			return m, err
		}
		done += f.Size
		progress(done, total)
	}
	return m, nil
}

func restoreFile(from, to string, f BackupFile) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	sum := sha256.New()
	if err := writeSynced(to, in, sum); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("the backup's file %s is damaged: its checksum is wrong", f.Name)
	}
	return nil
}
