package pebblestore

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// retryPause is the time between two attempts of the engine to write a table.
const retryPause = time.Second

// patientFS makes the engine wait before it tries again to write a table. On a full disk the engine would otherwise try
// again at once for as long as the disk is full, and log an error each time.
type patientFS struct {
	vfs.FS
	pause  func()
	failed atomic.Bool // the last attempt failed
}

func (fs *patientFS) Unwrap() vfs.FS { return fs.FS }
