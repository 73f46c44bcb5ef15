// Package backup copies the files of a running registry into a backup folder, and restores a data folder from it.
//
// A backup folder has files and one manifest that names them. A new backup adds the files that are missing, syncs them, and
// then replaces the manifest.
//
// INVARIANT: at any time the folder has one complete backup, the earlier or the new one. Only files that an earlier manifest
// named are removed, after the new manifest is in place.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// ManifestName is the name of the manifest's file.
const ManifestName = "manifest.json"

// File is a file of a backup.
type File struct {
	Name   string `json:"name"`           // in the data folder, e.g. events/000012.sst
	Path   string `json:"path,omitempty"` // in the backup folder; "": as its name
	Size   int64  `json:"size"`           // bytes
	SHA256 string `json:"sha256,omitempty"`
}

// path is where the file is in a backup folder.
func (f File) path(dir string) string {
	if f.Path != "" {
		return filepath.Join(dir, filepath.FromSlash(f.Path))
	}
	return filepath.Join(dir, filepath.FromSlash(f.Name))
}

// Format is the format of the backups that this version writes, and the newest that it reads.
const Format = 1

// Manifest names the files of a backup.
type Manifest struct {
	Format    int                 `json:"format,omitempty"` // 0: of a version that wrote none, which is format 1
	StoreID   uuid.UUID           `json:"store_id"`
	Position  eventstore.Position `json:"position,string"` // the backup has all events up to this position, and may have later ones
	CreatedAt time.Time           `json:"created_at"`
	Files     []File              `json:"files"`
	// Sum is a checksum over the names, sizes and checksums of all files, so that a manifest without one of them is
	// refused. Backups of earlier versions have no Sum.
	Sum string `json:"sum,omitempty"`
	// Whole is a checksum over all else that the manifest in a backup folder says, the time and the paths, too. Backups of earlier versions
	// have no Whole.
	Whole string `json:"whole,omitempty"`
}

// whole computes Whole.
func (m Manifest) whole() (string, error) {
	m.Whole = ""
	b, err := json.Marshal(m)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// sum computes Sum.
func (m *Manifest) sum() string {
	files := slices.Clone(m.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n", m.StoreID, m.Position)
	for _, f := range files {
		fmt.Fprintf(h, "%q %d %s\n", f.Name, f.Size, f.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// check refuses a manifest that no backup can have.
func (m *Manifest) check() error {
	named := map[string]bool{}
	events := false
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || f.Path != "" && !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return fmt.Errorf("the backup names a file outside of it: %q", f.Name)
		}
		if named[f.Name] {
			return fmt.Errorf("the backup names %s twice", f.Name)
		}
		named[f.Name] = true
		events = events || strings.HasPrefix(f.Name, eventsFolder+"/MANIFEST-")
	}
	whole, err := m.whole()
	switch {
	case err != nil:
		return err
	case m.Format < 0:
		return fmt.Errorf("the backup has the format %d, which no version writes", m.Format)
	case m.StoreID == uuid.Nil:
		return errors.New("the backup does not say of which store it is")
	case !events:
		return errors.New("the backup is not whole: the event store's files are not named in it")
	case m.Sum != "" && m.Sum != m.sum():
		return errors.New("the backup's manifest is not what was written: a file is not named in it, or another is")
	case m.Whole != "" && m.Whole != whole:
		return errors.New("the backup's manifest is not what was written")
	}
	return nil
}

// ReadManifest reads a backup's manifest. ok is false where there is none.
func ReadManifest(dir string) (m Manifest, ok bool, err error) {
	b, err := durable.ReadRegular(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	var newer struct{ Format int }
	switch {
	case err != nil:
	case json.Unmarshal(b, &newer) == nil && newer.Format > Format: // whatever else it says may mean something else
		err = fmt.Errorf("the backup has the format %d, which a later version of rollcall wrote; this version reads formats up to %d", newer.Format, Format)
	case json.Unmarshal(b, &m) != nil:
		err = errors.New("the backup's manifest is damaged: it cannot be read")
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return m, false, fmt.Errorf("%s: %w", filepath.Join(dir, ManifestName), err)
	}
	return m, true, nil
}

func (m *Manifest) write(dir string) error {
	m.Format, m.Sum = Format, m.sum()
	var err error
	if m.Whole, err = m.whole(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, ManifestName), b, 0o640)
}

// open opens a file of a backup folder that has its size.
func (f File) open(dir string) (*os.File, error) {
	in, info, err := durable.OpenRegular(f.path(dir))
	switch {
	case errors.Is(err, durable.ErrNotRegular):
		return nil, fmt.Errorf("the backup's file %s is damaged: it %w", f.Name, err)
	case err != nil:
		return nil, fmt.Errorf("the backup is not whole: %w", err)
	case info.Size() != f.Size:
		return nil, errors.Join(fmt.Errorf("the backup's file %s is damaged: it has %d bytes, not %d", f.Name, info.Size(), f.Size), in.Close())
	}
	return in, nil
}

// checkFile gives an error if a file of a backup folder is missing or damaged, or if the context ends meanwhile.
func checkFile(ctx context.Context, dir string, f File) error {
	in, err := f.open(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reading{ctx, io.LimitReader(in, f.Size+1)}); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("the backup's file %s cannot be read: %w", f.Name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("the backup's file %s is damaged: its checksum is wrong", f.Name)
	}
	return nil
}

// Verify checks every file of a backup without restoring it. The error names all files that are missing or damaged.
func Verify(ctx context.Context, dir string, progress func(bytes, total int64)) (m Manifest, err error) {
	m, ok, err := ReadManifest(dir)
	if err != nil {
		return m, err
	}
	if !ok {
		return m, noBackup(dir)
	}
	var done, total int64
	for _, f := range m.Files {
		total += f.Size
	}
	for _, f := range m.Files {
		err = errors.Join(err, checkFile(ctx, dir, f))
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		done += f.Size
		progress(done, total)
	}
	return m, err
}

// reading is a reader that ends with its context.
type reading struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r reading) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

func noBackup(dir string) error {
	return fmt.Errorf("%s holds no backup: there is no %s", dir, ManifestName)
}
