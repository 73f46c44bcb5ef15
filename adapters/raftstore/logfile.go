package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log is a row of files, to which frames are appended. Each frame is one write with one sync.
//
//	file:   magic, number of the file, seed, sum of these; then frames, then anything
//	frame:  seed, size of the records, sum of what follows, bytes that the file had before, the records
//
// A file begins with a frame that has all facts of the log but its entries, so that earlier files are needed for their entries only.
//
// INVARIANT: a frame is written after the one before it was synced. So after a crash only the last frame of the newest file may be
// damaged, and then it was not confirmed. A frame behind a damaged one says that the file was damaged in another way.
//
// What follows the last frame are zeros, or what a file had in an earlier use. The seed is random, so neither that, nor what a client
// may have put into an entry, is taken for a frame.
type logFile struct {
	number uint64
	seed   [seedSize]byte
	begins uint64  // where the log ended when the file was begun
	ends   uint64  // where the log ended after the last frame of the file
	frames []frame // those with entries that are part of the log
}

// frame says where entries are in a file.
type frame struct {
	first uint64 // index of the first entry. The entries of a later frame take the place of those with the same index
	at    int64
}

const (
	logMagic   = "rollcall log 1\r\n"
	seedSize   = 16
	headerSize = len(logMagic) + 8 + seedSize + 8
	sumAt      = seedSize + 4
	summedAt   = sumAt + 8
	frameHead  = summedAt + 8
	suffix     = ".log"
	spareFiles = ".free" // a file that the log no longer needs, to be used again
	maxSpares  = 8
	// A file is begun when the one before has so many bytes. Its end is filled with zeros, some in advance, and a file that is not needed
	// any more is used again: to sync what does not change the file's size takes the system half as long.
	maxFile  = 8 << 20
	maxAhead = 256 << 10
)

func logName(number uint64) string { return fmt.Sprintf("%06d%s", number, suffix) }

// logNumber is the number of a file of the log; false: no file of the log has that name.
func logNumber(name string) (number uint64, ok bool) {
	_, err := fmt.Sscanf(name, "%d"+suffix, &number)
	return number, err == nil && name == logName(number)
}

// header begins a file.
func (f *logFile) header() []byte {
	b := append([]byte(logMagic), binary.BigEndian.AppendUint64(nil, f.number)...)
	b = append(b, f.seed[:]...)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// readHeader takes the seed from the beginning of a file; false: it is not that of a file with this number.
func (f *logFile) readHeader(content []byte) bool {
	if len(content) < headerSize {
		return false
	}
	f.seed = [seedSize]byte(content[len(logMagic)+8:])
	return bytes.Equal(f.header(), content[:headerSize])
}

// sum is the checksum of a frame in its place.
func (f *logFile) sum(frame []byte, at int64) uint64 {
	return xxhash.Sum64(frame[summedAt:]) ^ (binary.BigEndian.Uint64(f.seed[:]) + uint64(at))
}

// newFrame has space for a frame's head, before its records.
func newFrame(buffer []byte) *records {
	return &records{append(buffer[:0], make([]byte, frameHead)...)}
}

// seal fills a frame's head. filled is how many bytes the file has, durably.
func (f *logFile) seal(r *records, at, filled int64) []byte {
	copy(r.b, f.seed[:])
	binary.BigEndian.PutUint32(r.b[seedSize:], uint32(len(r.b)-frameHead))
	binary.BigEndian.PutUint64(r.b[summedAt:], uint64(filled))
	binary.BigEndian.PutUint64(r.b[sumAt:], f.sum(r.b, at))
	return r.b
}

// frameAt gives a frame; nil: there is no whole one.
func (f *logFile) frameAt(content []byte, at int64) []byte {
	if at+int64(frameHead) > int64(len(content)) {
		return nil
	}
	head := content[at : at+int64(frameHead)]
	end := at + int64(frameHead) + int64(binary.BigEndian.Uint32(head[seedSize:]))
	if !bytes.Equal(head[:seedSize], f.seed[:]) || end > int64(len(content)) {
		return nil
	}
	frame := content[at:end]
	if f.sum(frame, at) != binary.BigEndian.Uint64(head[sumAt:]) {
		return nil
	}
	return frame
}

// each calls a function with the records of all frames. An error says that what was synced is missing, or is damaged.
func (f *logFile) each(content []byte, do func(at int64, records []byte) error) error {
	at, filled := int64(headerSize), uint64(0)
	for {
		frame := f.frameAt(content, at)
		if frame == nil {
			break
		}
		if err := do(at, frame[frameHead:]); err != nil {
			return err
		}
		at += int64(len(frame))
		filled = max(filled, binary.BigEndian.Uint64(frame[summedAt:]))
	}
	if uint64(len(content)) < filled {
		return fmt.Errorf("%w: %s has %d bytes, and had %d", ErrLogDamaged, logName(f.number), len(content), filled)
	}
	for rest := content[min(at+1, int64(len(content))):]; ; {
		next := bytes.Index(rest, f.seed[:])
		if next < 0 {
			return nil
		}
		if f.frameAt(content, int64(len(content)-len(rest)+next)) != nil {
			return fmt.Errorf("%w: %s is damaged at %d, before its end", ErrLogDamaged, logName(f.number), at)
		}
		rest = rest[next+1:]
	}
}

// writer is the file to which the log is written.
type writer struct {
	file   vfs.File
	of     *logFile
	at     int64 // where the next frame begins
	filled int64 // bytes that the file has, durably
}

// write writes a frame and syncs it.
func (w *writer) write(r *records, ahead int64) error {
	frame := w.of.seal(r, w.at, w.filled)
	if _, err := w.file.WriteAt(frame, w.at); err != nil {
		return err
	}
	w.at += int64(len(frame))
	if w.at > w.filled {
		if _, err := w.file.WriteAt(zeros[:ahead], w.at); err != nil {
			return err
		}
		w.filled = w.at + ahead
	}
	return w.file.SyncData()
}

var zeros [maxAhead]byte
