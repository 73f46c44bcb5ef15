package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// formatVersion is the version of the keys and values. Since version 2 the heads of heartbeat streams are written later
// than their heartbeats (heads.go): a program that knows only version 1 would take heads on disk for the newest. Since version 3 a
// value has many lifecycle events (records.go), and blocks of heartbeats have columns (block.go).
const formatVersion = 3

// replicaFormat is the version that a replica takes by itself. Its node may go back to a version that knows no later one, until
// TakeNewestFormat is called.
const replicaFormat = 2

// lateIndexFormat is the version of a store whose index of the streams may be behind (lateindex.go), and of which all else is as in
// formatVersion. A store takes it with its first lifecycle event, and has formatVersion again once it is closed.
const lateIndexFormat = 4

// format is the version that a store takes when it is opened.
func (o *Options) format() byte {
	if o.Replica {
		return replicaFormat
	}
	return formatVersion
}

func (s *Store) newBuffers() buffers {
	b := buffers{block: new(block)}
	s.shape(&b)
	return b
}

// shape has buffers write in the store's format.
func (s *Store) shape(b *buffers) {
	b.records.alone, b.block.form = false, blockOfColumns
	if s.format.Load() < 3 {
		b.records.alone, b.block.form = true, blockOfRows
	}
}

// HasNewestFormat says whether earlier versions of rollcall may refuse the store.
func (s *Store) HasNewestFormat() bool { return s.format.Load() == formatVersion }

// TakeNewestFormat has a replica write in the newest format. Earlier versions refuse the store from then on. REQUIRES: no block is being
// applied.
func (s *Store) TakeNewestFormat() error {
	if s.HasNewestFormat() {
		return nil
	}
	if err := s.db.Set(keyFormat, []byte{formatVersion}, pebble.Sync); err != nil {
		return err
	}
	s.format.Store(formatVersion)
	s.shape(&s.applying.buffers)
	return nil
}

// Exists says whether a folder holds an event store.
func Exists(dir string) (bool, error) {
	if err := durable.CheckFiles(dir); err != nil {
		return false, fmt.Errorf("look for an event store: %w", err)
	}
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
	if len(format) != 1 || format[0] < 1 || format[0] > lateIndexFormat {
		return fmt.Errorf("its format %v is not one that this version knows, up to %d", format, lateIndexFormat)
	}
	s.late = format[0] == lateIndexFormat
	writes := max(min(format[0], formatVersion), s.opts.format())
	s.format.Store(uint32(writes))
	if format[0] < writes && !s.opts.ReadOnly { // everything that an earlier format holds is valid in this one
		if err := s.db.Set(keyFormat, []byte{writes}, pebble.Sync); err != nil {
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
