package disposable

import (
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gate is a file system that can be shut. A failed engine may go on for a while. If its folder has been renamed or opened
// again meanwhile, a call with the name of a file would change the new content.
//
// INVARIANT: once close has returned, no call with the name of a file is under way, and none reaches the file system later.
// Open files stay open; they belong to the old content.
type gate struct {
	vfs.FS

	mu   sync.RWMutex // held for reading while a call is under way
	shut bool
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// through makes a call to the file system unless the gate is shut.
func through[T any](g *gate, call func() (T, error)) (result T, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.shut {
		return result, os.ErrClosed
	}
	return call()
}

func (g *gate) do(call func() error) error {
	_, err := through(g, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (g *gate) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return through(g, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *gate) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return through(g, func() (vfs.File, error) { return g.FS.Open(name, opts...) })
}

func (g *gate) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return through(g, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, opts...) })
}

func (g *gate) OpenDir(name string) (vfs.File, error) {
	return through(g, func() (vfs.File, error) { return g.FS.OpenDir(name) })
}

func (g *gate) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return through(g, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, category) })
}

func (g *gate) List(dir string) ([]string, error) {
	return through(g, func() ([]string, error) { return g.FS.List(dir) })
}

func (g *gate) Stat(name string) (vfs.FileInfo, error) {
	return through(g, func() (vfs.FileInfo, error) { return g.FS.Stat(name) })
}

func (g *gate) Link(from, to string) error {
	return g.do(func() error { return g.FS.Link(from, to) })
}

func (g *gate) Remove(name string) error {
	return g.do(func() error { return g.FS.Remove(name) })
}

func (g *gate) RemoveAll(name string) error {
	return g.do(func() error { return g.FS.RemoveAll(name) })
}

func (g *gate) Rename(from, to string) error {
	return g.do(func() error { return g.FS.Rename(from, to) })
}

func (g *gate) MkdirAll(dir string, mode os.FileMode) error {
	return g.do(func() error { return g.FS.MkdirAll(dir, mode) })
}

// Lock locks nothing, because the DB holds the lock of the folder.
func (g *gate) Lock(string) (io.Closer, error) { return unlocked{}, nil }

type unlocked struct{}

func (unlocked) Close() error { return nil }
