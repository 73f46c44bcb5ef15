package pebblestore

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// ids makes the ids of lifecycle events that were appended without an id: UUIDv7 (RFC 9562) that grow, with random bits that are
// read for many ids at once.
type ids struct {
	newest uint64 // the newest id's time, in 4096ths of a millisecond
	random [512 * randomPerID]byte
	left   []byte // of random
}

// randomPerID is how many random bytes an id has. Their first two bits give way to the variant.
const randomPerID = 8

// next makes the id of an event that is recorded at a time.
func (s *ids) next(at time.Time) (id uuid.UUID) {
	if len(s.left) == 0 {
		_, _ = rand.Read(s.random[:]) // it never fails
		s.left = s.random[:]
	}
	ms, rest := at.UnixNano()/int64(time.Millisecond), at.UnixNano()%int64(time.Millisecond)
	s.newest = max(s.newest+1, uint64(ms)<<12|uint64(rest)<<12/uint64(time.Millisecond))
	binary.BigEndian.PutUint64(id[:8], s.newest>>12<<16|0x7000|s.newest&0x0fff)
	copy(id[8:], s.left[:randomPerID])
	s.left = s.left[randomPerID:]
	id[8] = id[8]&0x3f | 0x80
	return id
}
