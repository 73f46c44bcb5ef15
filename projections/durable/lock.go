package durable

import (
	"errors"
	"io/fs"
)

// ErrLocked is Lock's error for what another process, or another call, has locked.
var ErrLocked = errors.New("in use")

// LockUnopened says whether an error is about the file of a lock, which could not be opened: nobody was asked for the lock, and no other
// process is known to have it.
func LockUnopened(err error) bool { return errors.As(err, new(*fs.PathError)) }
