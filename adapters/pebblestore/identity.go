package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

// formatVersion is the version of the keys and values. Since version 2 the heads of heartbeat streams are written later
// than their heartbeats (heads.go): a program that knows only version 1 would take heads on disk for the newest. Since version 3 a
// value has many lifecycle events (records.go), since version 4 a store that is no replica writes blocks of columns (block.go).
const formatVersion = 4

// replicaFormat is the version of what a replica writes: it goes on writing blocks of rows.
const replicaFormat = 3

// format is the version of what the store writes.
func (o *Options) format() byte {
	if o.Replica {
		return replicaFormat
	}
	return formatVersion
}

// Exists says whether a folder holds an event store.
func Exists(dir string) (bool, error) {
	described, err := pebble.Peek(dir, vfs.Default)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an event store in %s: %w", dir, err)
	}
	return described.Exists, nil
}

// ID is the store's identity, made when it was created.
func (s *Store) ID() uuid.UUID { return s.id }

// loadIdentity reads the store's id and format. It gives a new store both, and refuses a format that is newer than this
// version knows.
func (s *Store) loadIdentity() error {
	format, err := s.get(keyFormat)
	if err != nil {
		return err
	}
	if format == nil && !s.opts.ReadOnly {
		id := s.opts.ID
		if id == uuid.Nil {
			if id, err = uuid.NewRandom(); err != nil {
				return err
			}
		}
		b := s.db.NewBatch()
		defer b.Close()
		_ = b.Set(keyFormat, []byte{s.opts.format()}, nil)
		_ = b.Set(keyStoreID, id[:], nil)
		if err := b.Commit(pebble.Sync); err != nil {
			return err
		}
		format = []byte{s.opts.format()}
	}
	if len(format) != 1 || format[0] < 1 || format[0] > formatVersion {
		return fmt.Errorf("its format %v is not one that this version knows, up to %d", format, formatVersion)
	}
	if format[0] < s.opts.format() && !s.opts.ReadOnly { // everything that an earlier format holds is valid in this one
		if err := s.db.Set(keyFormat, []byte{s.opts.format()}, pebble.Sync); err != nil {
			return err
		}
	}
	id, err := s.get(keyStoreID)
	if err != nil {
		return err
	}
	if s.id, err = uuid.FromBytes(id); err != nil {
		return fmt.Errorf("store id: %w", err)
	}
	s.salt = binary.BigEndian.Uint64(s.id[:8]) ^ binary.BigEndian.Uint64(s.id[8:])
	return s.checkSchema()
}

// checkSchema refuses a store with events of a newer schema than the caller knows, because the caller would drop fields
// that it does not understand. It notes the schema that is written from now on.
func (s *Store) checkSchema() error {
	stored, err := s.get(keySchema)
	if err != nil {
		return err
	}
	newest := 1
	if len(stored) == 4 {
		newest = int(binary.BigEndian.Uint32(stored))
	}
	if newest > s.opts.Schema {
		return fmt.Errorf("it holds events of schema %d, and this version knows up to %d: a newer version of rollcall wrote to it", newest, s.opts.Schema)
	}
	if newest == s.opts.Schema || s.opts.ReadOnly {
		return nil
	}
	return s.db.Set(keySchema, binary.BigEndian.AppendUint32(nil, uint32(s.opts.Schema)), pebble.Sync)
}
