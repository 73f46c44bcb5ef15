package pebblestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// zeroedAhead is how many bytes behind its end a file of the engine's log has at least, whenever it has to grow.
const zeroedAhead = 256 << 10

var zeroes [zeroedAhead]byte

// walFile is a file of the engine's log that seldom grows. A sync of a file that has grown writes the file's new size, too, which takes
// as long again, and twice the processor time (ADR 142). So a write that would make the file grow writes zeros behind itself first.
//
// The engine reads a log up to the first bytes that are no chunk of this log, because it uses files of its log again. A file that it
// has closed ends with a chunk that says so.
//
// INVARIANT: one goroutine at a time writes, the engine's; the file is written from its beginning on.
type walFile struct {
	vfs.File
	written int64 // where the next write begins
	size    int64 // of the file
}

// isLog says whether a file of the engine is of its log.
func isLog(category vfs.DiskWriteCategory, name string) bool {
	return category == "pebble-wal" && strings.HasSuffix(name, ".log")
}

func (f *walFile) Write(p []byte) (n int, err error) {
	if end := f.written + int64(len(p)); end > f.size {
		f.size = end
		// Without the zeros the file grows as it did. A disk that takes no more writes fails the write below.
		if n, err := f.File.WriteAt(zeroes[:], end); err == nil {
			f.size += int64(n)
		}
	}
	n, err = f.File.Write(p)
	f.written += int64(n)
	return n, err
}

// Create creates a file. The engine does not hold its mutex where it creates a table.
func (fs *patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") && fs.failed.Swap(false) {
		fs.pause()
	}
	f, err := fs.FS.Create(name, category)
	if err != nil || !isLog(category, name) {
		return f, err
	}
	return &walFile{File: f}, nil
}

// ReuseForWrite makes another file of one that is not needed any more.
func (fs *patientFS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldName, newName, category)
	if err != nil || !isLog(category, newName) {
		return f, err
	}
	w := &walFile{File: f}
	if known, err := f.Stat(); err == nil {
		w.size = known.Size()
	}
	return w, nil
}
