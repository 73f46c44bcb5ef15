package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// load reads all files.
func (l *diskLog) load() error {
	for i, f := range l.files {
		name := logName(f.number)
		content, err := l.readFile(name)
		if err != nil {
			return err
		}
		switch begun := f.readHeader(content) && f.frameAt(content, int64(headerSize)) != nil; {
		case begun:
		case i == len(l.files)-1 && !l.end.names(name): // a crash came before it was written
			l.files = l.files[:i]
			l.newest--
			continue
		default:
			return fmt.Errorf("%w: the beginning of %s is missing", ErrLogDamaged, name)
		}
		err = f.each(content, func(at int64, records []byte) error { return l.replay(i, at, records) })
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if l.missing > l.cut {
		return fmt.Errorf("%w: it begins after entry %d, and was cut after entry %d", ErrLogDamaged, l.missing, l.cut)
	}
	return nil
}

// syncFound makes durable what was found. The process of before may have ended between a write and its sync, so that the system has the
// last frame or the last change of the folder, and the disk does not. What the node says of its log holds after a loss of the power, too.
func (l *diskLog) syncFound() error {
	if n := len(l.files); n > 0 {
		f, err := l.fs.OpenReadWrite(l.fs.PathJoin(l.dir, logName(l.files[n-1].number)), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return syncFolder(l.fs, l.dir)
}

// replay does once more what the records of a frame say. file is the number of the file in their order.
func (l *diskLog) replay(file int, at int64, b []byte) error {
	f := l.files[file]
	for len(b) > 0 {
		var r record
		var err error
		if r, b, err = nextRecord(b); err != nil {
			return err
		}
		switch r.kind {
		case recordEntry:
			err = l.replayEntry(f, at, r)
		case recordBegins:
			if f.begins, _, err = r.numbers(); file == 0 {
				l.last, l.missing = f.begins, f.begins
			} else if f.begins != l.last {
				return fmt.Errorf("%w: a file ends at entry %d, and the next one begins after entry %d", ErrLogDamaged, l.last, f.begins)
			}
		default:
			err = l.replayFact(r)
		}
		if err != nil {
			return err
		}
	}
	f.ends = l.last
	return nil
}

func (l *diskLog) replayEntry(f *logFile, at int64, r record) error {
	e, err := r.asEntry()
	switch index := e.GetIndex(); {
	case err != nil:
		return err
	case index > l.last+1:
		return fmt.Errorf("%w: entry %d follows entry %d", ErrLogDamaged, index, l.last)
	case index <= l.last:
		l.missing = min(l.missing, index-1)
	}
	l.keep(f, at, []*raftpb.Entry{e})
	return nil
}

func (l *diskLog) replayFact(r record) (err error) {
	switch r.kind {
	case recordState:
		l.state = &raftpb.HardState{}
		return proto.Unmarshal(r.content, l.state)
	case recordIdentity:
		l.identity = identity{}
		return json.Unmarshal(r.content, &l.identity)
	}
	index, term, err := r.numbers()
	switch r.kind {
	case recordCut:
		l.cutAt(index, term)
	case recordReset:
		l.beginAfter(index, term)
	default:
		return fmt.Errorf("%w: a record %q is not known", ErrLogDamaged, r.kind)
	}
	return err
}
