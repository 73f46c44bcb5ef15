package projections

import (
	"bufio"
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

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Snapshots keeps a projection's saved states in a folder, one file a position. A file that is
// damaged, of another version or of another store is put aside and the next older one is taken:
// a snapshot only saves time, the events are the truth.
type Snapshots struct {
	Dir     string
	Name    string // of the projection, e.g. "catalog"
	Version uint32 // of the state's form
	StoreID uuid.UUID
	Logger  *slog.Logger
}

// A file is: magic, version, store id, position, state, and the xxHash64 of all that.
const (
	snapshotMagic  = "rollcall snapshot\n"
	snapshotHeader = len(snapshotMagic) + 4 + 16 + 8
)

// Save writes a state. It is complete and synced, or absent.
func (s Snapshots) Save(at eventstore.Position, state iter.Seq[[]byte]) (err error) {
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.Dir, s.Name+"-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("save %s snapshot: %w", s.Name, err), os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(s.write(f, at, state), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path(at)); err != nil {
		return err
	}
	return syncDir(s.Dir)
}

func (s Snapshots) write(f io.Writer, at eventstore.Position, state iter.Seq[[]byte]) error {
	w := bufio.NewWriterSize(f, 1<<20)
	sum := xxhash.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(s.header(at)); err != nil {
		return err
	}
	for chunk := range state {
		if _, err := both.Write(chunk); err != nil {
			return err
		}
	}
	if _, err := w.Write(binary.BigEndian.AppendUint64(nil, sum.Sum64())); err != nil {
		return err
	}
	return w.Flush()
}

func (s Snapshots) header(at eventstore.Position) []byte {
	b := binary.BigEndian.AppendUint32([]byte(snapshotMagic), s.Version)
	return binary.BigEndian.AppendUint64(append(b, s.StoreID[:]...), uint64(at))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s Snapshots) path(at eventstore.Position) string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s-%020d.snapshot", s.Name, at))
}

// Positions lists the positions that have a snapshot, oldest first.
func (s Snapshots) Positions() ([]eventstore.Position, error) {
	files, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var positions []eventstore.Position
	for _, f := range files {
		number, ok := strings.CutPrefix(strings.TrimSuffix(f.Name(), ".snapshot"), s.Name+"-")
		if p, err := strconv.ParseUint(number, 10, 64); ok && err == nil && filepath.Ext(f.Name()) == ".snapshot" {
			positions = append(positions, eventstore.Position(p))
		}
	}
	slices.Sort(positions)
	return positions, err
}

// Newest hands the newest good snapshot at or before a position to load, and says where it is. It
// is at 0 when there is none. A snapshot that load refuses is put aside.
func (s Snapshots) Newest(atMost eventstore.Position, load func(state []byte) error) (eventstore.Position, error) {
	positions, err := s.Positions()
	if err != nil {
		return 0, err
	}
	for _, at := range slices.Backward(positions) {
		if at > atMost {
			continue
		}
		state, err := s.read(at)
		if err == nil {
			if err = load(state); err == nil {
				return at, nil
			}
		}
		s.Logger.Warn("snapshot is put aside", "projection", s.Name, "position", at, "cause", err)
		if err := os.Rename(s.path(at), s.path(at)+".bad"); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (s Snapshots) read(at eventstore.Position) ([]byte, error) {
	b, err := os.ReadFile(s.path(at))
	if err != nil {
		return nil, err
	}
	end := len(b) - 8
	if end < snapshotHeader {
		return nil, errors.New("it is cut short")
	}
	if xxhash.Sum64(b[:end]) != binary.BigEndian.Uint64(b[end:]) {
		return nil, errors.New("its checksum is wrong")
	}
	if string(b[:snapshotHeader]) != string(s.header(at)) {
		return nil, errors.New("it is of another version, store or position")
	}
	return b[snapshotHeader:end], nil
}

// Remove deletes the snapshot at a position.
func (s Snapshots) Remove(at eventstore.Position) error { return os.Remove(s.path(at)) }

// kept is how many of the newest snapshots Thin leaves.
const kept = 2

// Thin removes all but the newest snapshots.
func (s Snapshots) Thin() error {
	positions, err := s.Positions()
	if err != nil {
		return err
	}
	for _, at := range positions[:max(0, len(positions)-kept)] {
		if err := s.Remove(at); err != nil {
			return err
		}
	}
	return nil
}
