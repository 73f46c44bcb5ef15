// Package memtables gives the memory of the storage engine's memtables back to the system. It says how. The owner of the engine says
// when, because only the owner knows that little is written.
package memtables

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Each rotation has the engine begin a new memtable and flush the one before it. The engine keeps the last memtable that nobody
// needs any more, with the memory that its content took, and makes it the next memtable. So one rotation gives nothing back.
//
// An iterator holds the memtables that were there when it was made. While a memtable is held, the engine cannot make it the next
// one. Release rotates three times and holds the memtable before each rotation, so that the second or the third new memtable has
// memory that was never used: the first may be the one that the engine kept. Then Release lets go of the memtables in the same order: the
// engine keeps only the last one, which is empty, and frees the others.
const rotations = 3

// Release writes what is in the memtables to disk, and frees their memory and that of the blocks in the engine's cache. The cache fills
// again with what is read from then on. The engine takes its memtables from the cache, so a cache has the more blocks the fewer writes there
// are, and would keep most where they are needed least. rotate has the engine begin a new memtable, as
// pebble.DB.AsyncFlush does; wait waits until that flush has ended. REQUIRES: nobody closes the engine meanwhile.
func Release(db *pebble.DB, cache *pebble.Cache, rotate func() (flushed <-chan struct{}, err error), wait func(flushed <-chan struct{}) error) (err error) {
	var held []*pebble.Iterator
	defer func() {
		for _, it := range held {
			err = errors.Join(err, it.Close())
		}
		cache.Reserve(int(cache.MaxSize()))() // the cache drops its blocks for as long as its memory is reserved
		giveBack()
	}()
	for range rotations {
		it, err := db.NewIter(nil)
		if err != nil {
			return err
		}
		held = append(held, it)
		flushed, err := rotate()
		if err != nil {
			return err
		}
		if err := wait(flushed); err != nil {
			return err
		}
	}
	return nil
}

// Rest says when a release is worth its cost: when little was written for a while, after much was written. The zero value is
// ready for use.
type Rest struct {
	seen     uint64 // bytes written up to the last look
	released uint64 // bytes written up to the last release
	quiet    int    // looks in a row that found little written
}

// Pause is the time between two looks.
const Pause = time.Second

// A release makes a small table, and small tables are merged sooner. So there is none while writes go on, which would pay for
// more merging, and none for less memory than what a registry without instances has.
const (
	little     = 16 << 10 // bytes between two looks
	quietLooks = 2
	much       = 1 << 20 // bytes
)

// Due looks at how many bytes were written in all, and says whether to release now. After Due has said so, it counts from there.
func (r *Rest) Due(written uint64) bool {
	if written-r.seen > little {
		r.quiet = 0
	} else {
		r.quiet++
	}
	r.seen = written
	if r.quiet < quietLooks || written-r.released < much {
		return false
	}
	r.released = written
	return true
}
