package projections

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Snapshots keeps the saved states of a projection in a folder, one file for each position. A file that is damaged, of
// another version or of another store is put aside, and the next older one is used: a snapshot only saves time, and the
// events are the truth.
type Snapshots struct {
	Dir     string
	Name    string // of the projection, e.g. "catalog"
	Version uint32 // of the state's format
	StoreID uuid.UUID
	Logger  *slog.Logger
	// Decoders are shared by the reads. nil: each read makes a decoder of its own, which allocates its window.
	Decoders *Decoders
}

// Decoders keeps decoders for later reads. Its zero value is ready for use.
type Decoders struct{ pool sync.Pool }

// Mark identifies a snapshot: its position, and the number of lifecycle events up to it.
type Mark struct {
	Position eventstore.Position
	Events   uint64
}

// A file has: magic, version, store id, position, number of events, the state compressed by zstd, and the xxHash64 of all
// that. Its name has the position and the number of events, too.
const (
	snapshotMagic  = "rollcall snapshot\n"
	snapshotHeader = len(snapshotMagic) + 4 + 16 + 8 + 8
)

// Save writes a state. The file is complete and synced, or there is none.
func (s Snapshots) Save(at Mark, state iter.Seq[[]byte]) error {
	err := durable.Write(s.path(at), 0o640, func(w io.Writer) error { return s.write(w, at, state) })
	if err != nil {
		return fmt.Errorf("save %s snapshot: %w", s.Name, err)
	}
	return nil
}

func (s Snapshots) write(f io.Writer, at Mark, state iter.Seq[[]byte]) error {
	w := bufio.NewWriterSize(f, 256<<10)
	sum := xxhash.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(s.header(at)); err != nil {
		return err
	}
	z := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(z)
	z.Reset(both)
	for chunk := range state {
		if _, err := z.Write(chunk); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint64(nil, sum.Sum64())); err != nil {
		return err
	}
	return w.Flush()
}

func (s Snapshots) header(at Mark) []byte {
	b := binary.BigEndian.AppendUint32([]byte(snapshotMagic), s.Version)
	b = binary.BigEndian.AppendUint64(append(b, s.StoreID[:]...), uint64(at.Position))
	return binary.BigEndian.AppendUint64(b, at.Events)
}

func (s Snapshots) path(at Mark) string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s-%020d-%d.snapshot", s.Name, at.Position, at.Events))
}

// Marks lists the snapshots, oldest first.
func (s Snapshots) Marks() ([]Mark, error) {
	files, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var marks []Mark
	for _, f := range files {
		if at, ok := s.markOf(f.Name()); ok {
			marks = append(marks, at)
		}
	}
	slices.SortFunc(marks, func(a, b Mark) int { return cmp.Compare(a.Position, b.Position) })
	return marks, err
}

// markOf is the mark of the snapshot with a file name. ok is false for all other files.
func (s Snapshots) markOf(file string) (at Mark, ok bool) {
	rest, ok := strings.CutPrefix(file, s.Name+"-")
	if !ok {
		return at, false
	}
	position, rest, _ := strings.Cut(rest, "-")
	events, ok := strings.CutSuffix(rest, ".snapshot")
	p, err1 := strconv.ParseUint(position, 10, 64)
	n, err2 := strconv.ParseUint(events, 10, 64)
	at = Mark{Position: eventstore.Position(p), Events: n}
	return at, ok && err1 == nil && err2 == nil && s.path(at) == filepath.Join(s.Dir, file)
}

// After lists the snapshots after a position, oldest first.
func (s Snapshots) After(position eventstore.Position) ([]Mark, error) {
	marks, err := s.Marks()
	return slices.DeleteFunc(marks, func(at Mark) bool { return at.Position <= position }), err
}

// PutAside renames a snapshot so that it is not used any more. What was put aside for the same position before is removed.
func (s Snapshots) PutAside(at Mark) error {
	return errors.Join(os.RemoveAll(s.aside(at)), os.Rename(s.path(at), s.aside(at)))
}

func (s Snapshots) aside(at Mark) string { return s.path(at) + ".bad" }

// Newest calls load with the newest good snapshot at or before a position, and gives its mark; the zero mark: there is
// none. A snapshot that load refuses is put aside.
func (s Snapshots) Newest(atMost eventstore.Position, load func(state io.Reader) error) (Mark, error) {
	marks, err := s.Marks()
	if err != nil {
		return Mark{}, err
	}
	for _, at := range slices.Backward(marks) {
		if at.Position > atMost {
			continue
		}
		err := s.read(at, load)
		if err == nil {
			return at, nil
		}
		if errors.Is(err, os.ErrNotExist) {
			continue // Thin removed it meanwhile
		}
		s.Logger.Warn("snapshot is put aside", "projection", s.Name, "position", at.Position, "put_aside", s.aside(at), "cause", err)
		if err := s.PutAside(at); err != nil {
			return Mark{}, err
		}
	}
	return Mark{}, nil
}

func (s Snapshots) read(at Mark, load func(state io.Reader) error) error {
	b, err := durable.ReadFile(s.path(at))
	if err != nil {
		return err
	}
	end := len(b) - 8
	if end < snapshotHeader {
		return errors.New("it is cut short")
	}
	if xxhash.Sum64(b[:end]) != binary.BigEndian.Uint64(b[end:]) {
		return errors.New("its checksum is wrong")
	}
	if string(b[:snapshotHeader]) != string(s.header(at)) {
		return errors.New("it is of another version, store or position")
	}
	d := s.Decoders.get()
	if err := d.Reset(bytes.NewReader(b[snapshotHeader:end])); err != nil {
		return err
	}
	err = load(d)
	return errors.Join(err, s.Decoders.put(d))
}

func (p *Decoders) get() *zstd.Decoder {
	if p != nil {
		if d, ok := p.pool.Get().(*zstd.Decoder); ok {
			return d
		}
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err) // the options are constant
	}
	return d
}

func (p *Decoders) put(d *zstd.Decoder) error {
	if p == nil {
		d.Close()
		return nil
	}
	defer p.pool.Put(d)
	return d.Reset(nil) // so that the pool does not keep what was read
}

// encoders is a pool, because a long replay saves many snapshots and an encoder allocates much memory.
var encoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10))
	if err != nil {
		panic(err) // the options are constant
	}
	return z
}}

// Remove deletes a snapshot.
func (s Snapshots) Remove(at Mark) error { return os.Remove(s.path(at)) }

// RemoveAll deletes every snapshot.
func (s Snapshots) RemoveAll() error {
	marks, err := s.Marks()
	if err != nil {
		return err
	}
	for _, at := range marks {
		if err := s.Remove(at); err != nil {
			return err
		}
	}
	return nil
}

// Thin removes snapshots that are closer together than their age requires (ADR 010). A query of a past moment replays the
// events after the nearest snapshot, and may take longer the older the moment is. The newest two and the oldest
// snapshots stay.
func (s Snapshots) Thin() error {
	marks, err := s.Marks()
	if err != nil || len(marks) < 3 {
		return err
	}
	newest := marks[len(marks)-1]
	kept := marks[len(marks)-2]
	for i := len(marks) - 3; i > 0; i-- {
		at := marks[i]
		// Without at, a replay from the next older snapshot covers the events up to the last kept one.
		if kept.Events-marks[i-1].Events <= spacing(newest.Events-at.Events) {
			if err := s.Remove(at); err != nil {
				return err
			}
			continue
		}
		kept = at
	}
	return nil
}

// spacing is how many lifecycle events may be between two snapshots. The age is in lifecycle events.
func spacing(age uint64) uint64 {
	switch {
	case age < 20_000_000:
		return 25_000
	case age < 100_000_000:
		return 100_000
	}
	return 1_000_000
}
