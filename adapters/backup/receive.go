package backup

import (
	"archive/tar"
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
	"reflect"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// incomingFolder has the files of a backup that is being received, until all of them are there.
const incomingFolder = "incoming"

// Target is a folder to which backups are written.
type Target struct {
	dir    string
	before Manifest // of the earlier backup in the folder; the zero Manifest: there is none
	intact []File   // the files of the earlier backup that are not damaged
}

// OpenTarget opens a folder to which a backup is to be written. The folder must be absent, be empty, or have a backup. Files
// of that backup that are damaged or missing are written anew later. OpenTarget changes nothing.
func OpenTarget(ctx context.Context, dir string) (*Target, error) {
	if err := durable.CheckFolder(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m, ok, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	if !ok && len(entries) > 0 && !unended(dir) {
		return nil, fmt.Errorf("%s is not empty and holds no backup: a backup goes into a new folder, or one that holds a backup of the same store", dir)
	}
	t := &Target{dir: dir, before: m}
	for _, f := range m.Files {
		if checkFile(ctx, dir, f) == nil {
			t.intact = append(t.intact, f)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return t, nil
}

// Have lists the files that need not be sent again.
func (t *Target) Have() []File { return t.intact }

// Size is the size of the earlier backup, in bytes.
func (t *Target) Size() (size int64) {
	for _, f := range t.before.Files {
		size += f.Size
	}
	return size
}

// Receive reads an archive that Source.Write wrote, and makes it the backup in the folder. progress is told how many bytes
// were received. When the context ends, the earlier backup stays.
func (t *Target) Receive(ctx context.Context, r io.Reader, progress func(bytes int64)) (m Manifest, err error) {
	release, err := t.lock()
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, release()) }()
	incoming := filepath.Join(t.dir, incomingFolder)
	if err := errors.Join(sweep(t.dir), os.RemoveAll(incoming)); err != nil { // left by a backup that was killed
		return m, err
	}
	if err := os.MkdirAll(incoming, 0o750); err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sweep(t.dir))
		}
		err = errors.Join(err, os.RemoveAll(incoming))
	}()
	m, received, err := t.unpack(reading{ctx, r}, incoming, progress)
	if err != nil {
		return m, err
	}
	if t.before.Files != nil && t.before.StoreID != m.StoreID {
		return m, fmt.Errorf("the folder holds a backup of store %s, this is %s", t.before.StoreID, m.StoreID)
	}
	if err := t.plan(&m, received, incoming); err != nil {
		return m, err
	}
	for i := range m.Files {
		f := &m.Files[i]
		if arrived, ok := received[f.Name]; ok {
			if err := t.place(f, arrived); err != nil {
				return m, err
			}
			continue
		}
		if err := t.keep(f); err != nil {
			return m, err
		}
	}
	if err := m.write(incoming); err != nil {
		return m, err
	}
	if err := errors.Join(os.Rename(filepath.Join(incoming, ManifestName), filepath.Join(t.dir, ManifestName)), durable.SyncDir(t.dir)); err != nil {
		return m, err
	}
	return m, t.removeOld(&m)
}

// lock locks a folder until release is called or the process ends.
func lock(dir string) (release func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := durable.Lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// lock locks the folder, so that no two backups remove what the other one needs. The backup in it must be the one that was looked at.
func (t *Target) lock() (release func() error, err error) {
	if err := os.MkdirAll(t.dir, 0o750); err != nil {
		return nil, err
	}
	release, err = lock(t.dir)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another backup is being written to %s", t.dir)
	}
	if err != nil {
		return nil, err
	}
	now, _, err := ReadManifest(t.dir)
	if err == nil && !reflect.DeepEqual(now, t.before) {
		err = fmt.Errorf("another backup was written to %s meanwhile: run this one again", t.dir)
	}
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// arrival is a file that was received.
type arrival struct {
	path, sum string
	size      int64
}

// unpack writes the archive's files into a folder, synced, and checks them against its manifest.
func (t *Target) unpack(r io.Reader, incoming string, progress func(int64)) (m Manifest, received map[string]arrival, err error) {
	archive := tar.NewReader(r)
	received = map[string]arrival{}
	total := int64(0)
	for {
		header, err := archive.Next()
		if err != nil {
			return m, nil, fmt.Errorf("the backup broke off before its manifest: %w", err)
		}
		if header.Name == ManifestName {
			if err := json.NewDecoder(archive).Decode(&m); err != nil {
				return m, nil, fmt.Errorf("the backup's manifest: %w", err)
			}
			break
		}
		if !filepath.IsLocal(filepath.FromSlash(header.Name)) {
			return m, nil, fmt.Errorf("the backup names a file outside of it: %q", header.Name)
		}
		a := arrival{path: filepath.Join(incoming, fmt.Sprint(len(received))), size: header.Size}
		if a.sum, err = writeSynced(a.path, archive); err != nil {
			return m, nil, err
		}
		received[header.Name] = a
		total += header.Size
		progress(total)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the archive's end, and the sender's
		return m, nil, fmt.Errorf("the backup broke off: %w", err)
	}
	if err := m.check(); err != nil {
		return m, nil, err
	}
	for _, f := range m.Files {
		if a, ok := received[f.Name]; ok && (a.sum != f.SHA256 || a.size != f.Size) {
			return m, nil, fmt.Errorf("%s did not arrive as it was sent", f.Name)
		}
	}
	return m, received, nil
}

// place moves a received file to the path of its name. If that path has another file, which the earlier backup may need, it
// takes another path beside it.
func (t *Target) place(f *File, a arrival) error {
	for _, path := range paths(*f) {
		f.Path = path
		if checkFile(context.Background(), t.dir, *f) == nil {
			return nil // the same content is there
		}
		to := f.path(t.dir)
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) && !t.damaged(to) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if err := os.Rename(a.path, to); err != nil {
			return err
		}
		return durable.SyncDir(filepath.Dir(to))
	}
	return fmt.Errorf("%s cannot be written: other files are in its place", f.Name)
}

// paths are where a received file may go.
func paths(f File) []string { return []string{"", f.Name + "~" + f.SHA256[:16]} }

// damaged says whether a path is the path of a damaged file of the earlier backup.
func (t *Target) damaged(path string) bool {
	for _, f := range t.before.Files {
		if f.path(t.dir) == path {
			return checkFile(context.Background(), t.dir, f) != nil
		}
	}
	return false
}

// keep finds a file that was not sent among those of the earlier backup.
func (t *Target) keep(f *File) error {
	for _, had := range t.intact {
		if had.Name == f.Name && had.Size == f.Size && had.SHA256 == f.SHA256 {
			f.Path = had.Path
			return nil
		}
	}
	return fmt.Errorf("the backup leaves out %s, which is not here", f.Name)
}

// removeOld removes the files that the earlier manifest names and the new one does not.
func (t *Target) removeOld(m *Manifest) (err error) {
	needed := map[string]bool{}
	for _, f := range m.Files {
		needed[f.path(t.dir)] = true
	}
	for _, f := range t.before.Files {
		if path := f.path(t.dir); !needed[path] {
			if removed := os.Remove(path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
				err = errors.Join(err, removed)
			}
		}
	}
	return err
}

// writeSynced writes and syncs a new file, and gives its SHA-256.
func writeSynced(path string, r io.Reader) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), r)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}
