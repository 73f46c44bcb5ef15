package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// indexFile is the table that is being written, until the engine takes it.
const indexFile = "index.tmp"

// leaveUnindexed notes the lifecycle events of the batch for later. With the first of them the store's format says that the index may be
// behind.
func (s *Store) leaveUnindexed(c *commit) {
	if len(c.indexed) == 0 {
		return
	}
	if !s.late {
		s.late = true
		c.set(keyFormat, []byte{lateIndexFormat})
		c.set(keyIndexed, binary.BigEndian.AppendUint64(nil, uint64(c.indexed[0].place.at)-1))
	}
	s.unindexed.add(c.indexed)
	c.forgetIndexed()
}

// writeParts writes parts that take no more into the engine until the store closes. It tries again for as long as the disk takes no table.
func (s *Store) writeParts() {
	for {
		p := s.unindexed.ripe(s.Durable())
		if p == nil {
			select {
			case <-s.closing:
				return
			case <-s.unindexed.wake:
				continue
			}
		}
		select {
		case <-s.closing:
			return
		default:
		}
		if err := s.writePart(p); err != nil {
			s.opts.Logger.Warn("the index of the streams cannot be written; it is tried again", "cause", err)
			s.opts.pause()
		}
	}
}

// writePart hands the keys of the oldest part to the engine as a table, past its log and its memory. REQUIRES: the events are durable.
func (s *Store) writePart(p *part) error {
	path := s.opts.FS.PathJoin(s.dir, indexFile)
	file, err := s.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: s.engine.BytesPerSync}) // the log is synced meanwhile
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), s.engine.MakeWriterOptions(0, s.db.TableFormat()))
	for key, value := range p.keys() {
		if err = w.Set(key, value); err != nil {
			break
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := s.db.Ingest(context.Background(), []string{path}); err != nil {
		return err
	}
	s.unindexed.written()
	// A position that a crash takes back only has the next start read more.
	return s.db.Set(keyIndexed, binary.BigEndian.AppendUint64(nil, uint64(p.last())), pebble.NoSync)
}

// completeIndex writes all that the engine lacks of the index. Programs that do not know of a late index can read the store then. REQUIRES:
// nothing is appended meanwhile.
func (s *Store) completeIndex() error {
	if !s.late {
		return nil
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, p := range s.unindexed.parts {
		for key, value := range p.keys() {
			if err := b.Set(key, value, nil); err != nil {
				return err
			}
		}
	}
	_ = b.Set(keyFormat, []byte{formatVersion}, nil)
	_ = b.Delete(keyIndexed, nil)
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	s.late, s.unindexed.parts = false, []*part{newPart()}
	return nil
}

// recoverIndex reads from the events what the engine lacks of the index. Damage among them is an error: without the places, the revisions of
// their streams would be given again.
func (s *Store) recoverIndex() error {
	if !s.opts.ReadOnly {
		if err := s.opts.FS.Remove(s.opts.FS.PathJoin(s.dir, indexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !s.late {
		return nil
	}
	stored, err := s.get(keyIndexed)
	if err != nil || len(stored) != 8 {
		return errors.Join(err, fmt.Errorf("the position of the index of the streams: %w", errDamaged))
	}
	upTo := eventstore.Position(binary.BigEndian.Uint64(stored))
	begin, err := s.blockBefore(rangeLifecycle, upTo+1)
	if err != nil {
		return err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lifecycleKey(begin), UpperBound: after(rangeLifecycle)})
	if err != nil {
		return err
	}
	defer it.Close()
	for found := it.First(); found; found = it.Next() {
		first := eventstore.Position(tail(it.Key()))
		value, err := it.ValueAndErr()
		if err == nil {
			err = s.recoverPlaces(first, value, upTo)
		}
		if err != nil && !s.opts.ReadOnly { // a tool goes past damage
			return &Damaged{first, err}
		}
	}
	return it.Error()
}

// recoverPlaces reads the places of the events of a value, behind a position.
func (s *Store) recoverPlaces(first eventstore.Position, value []byte, upTo eventstore.Position) error {
	r, err := readRecords(first, value)
	if err != nil {
		return err
	}
	var places []indexed
	for r.next() {
		if r.position > upTo {
			places = append(places, indexed{eventstore.StreamName(r.stream), r.revision, place{r.position, first}})
			s.known.add(xxhash.Sum64(r.stream))
		}
	}
	s.unindexed.add(places)
	return r.err()
}
