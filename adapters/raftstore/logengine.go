package raftstore

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// Earlier versions kept the log in a storage engine, with these keys:
//
//	e/<index>   an entry: its term, its type, its data
//	m/identity  JSON of identity
//	m/state     raftpb.HardState
//	m/cut       index and term of the entry before the first one
//
// The first start of this version makes it a file of the log.

const (
	convertedFile = "converted" // what becomes a file of the log once it has everything
	perConverted  = 1 << 20     // bytes of entries in a frame
)

// fromEngine converts the log of an earlier version, if there is one.
//
// A crash may come at any moment: the engine's files are removed when the file of the log is there, and that one has its name when it has
// everything.
func (l *diskLog) fromEngine(logger *slog.Logger) error {
	described, err := pebble.Peek(l.dir, l.fs)
	if err != nil || !described.Exists {
		return err
	}
	done, newest, err := l.amongEngines()
	if err != nil {
		return err
	}
	if done == 0 {
		done = newest + 1
		if err := l.convert(done, logger); err != nil {
			return fmt.Errorf("convert the log of an earlier version: %w", err)
		}
	}
	if err := l.end.converted(logName(done)); err != nil {
		return err
	}
	return l.removeEngine()
}

// amongEngines looks for a file of the log among those of the engine (its number; 0: there is none), and for the highest number of a file of
// either.
func (l *diskLog) amongEngines() (done, newest uint64, err error) {
	names, err := l.fs.List(l.dir)
	for _, name := range names {
		number, ok := logNumber(name)
		if !ok {
			continue
		}
		newest = max(newest, number)
		content, err := l.readFile(name)
		if err != nil {
			return 0, 0, err
		}
		if (&logFile{number: number}).readHeader(content) {
			done = max(done, number)
		}
	}
	return done, newest, err
}

func (l *diskLog) convert(number uint64, logger *slog.Logger) (err error) {
	db, err := pebble.Open(l.dir, &pebble.Options{FS: l.fs, Lock: l.lock, Logger: pebblestore.EngineLog{Logger: logger, Engine: "the log's engine"}, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	facts := newFrame(nil)
	ends := closedLog{}
	if err := engineFacts(db, facts, &ends); err != nil {
		return err
	}
	path := l.fs.PathJoin(l.dir, convertedFile)
	file, err := l.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	of := &logFile{number: number}
	_, _ = rand.Read(of.seed[:]) // it never fails
	at := int64(headerSize)
	write := func(r *records) error {
		_, err := file.Write(of.seal(r, at, 0))
		at += int64(len(r.b))
		return err
	}
	_, err = file.Write(of.header())
	if err = errors.Join(err, write(facts), engineEntries(db, &ends, write), file.Sync(), file.Close()); err != nil {
		return err
	}
	l.end.compare(ends)
	return errors.Join(l.fs.Rename(path, l.fs.PathJoin(l.dir, logName(number))), syncFolder(l.fs, l.dir))
}

// engineFacts makes records of what the engine has but for entries.
func engineFacts(db *pebble.DB, facts *records, ends *closedLog) error {
	values := map[string][]byte{}
	for _, name := range []string{"m/cut", "m/state", "m/identity"} {
		v, closer, err := db.Get([]byte(name))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		values[name] = append([]byte{}, v...)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	term, state, who := uint64(0), &raftpb.HardState{}, identity{}
	if v := values["m/cut"]; len(v) == 16 {
		ends.Index, term = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	}
	if err := proto.Unmarshal(values["m/state"], state); err != nil {
		return err
	}
	if v := values["m/identity"]; v != nil {
		if err := json.Unmarshal(v, &who); err != nil {
			return err
		}
	}
	ends.Term, ends.Vote = state.GetTerm(), state.GetVote()
	facts.index(recordBegins, ends.Index)
	facts.place(recordCut, ends.Index, term)
	return errors.Join(facts.state(state), facts.identity(&who))
}

// engineEntries writes the entries of the engine, in frames.
func engineEntries(db *pebble.DB, ends *closedLog, write func(*records) error) error {
	from := binary.BigEndian.AppendUint64([]byte("e/"), ends.Index+1)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte("f")})
	if err != nil {
		return err
	}
	defer it.Close()
	r := newFrame(nil)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		p := packed.Reader{B: v}
		term, kind := p.Uvarint(), raftpb.EntryType(p.Byte())
		if p.Failed || len(it.Key()) != len(from) {
			return ErrLogDamaged
		}
		ends.Index = binary.BigEndian.Uint64(it.Key()[2:])
		r.entry(&raftpb.Entry{Index: &ends.Index, Term: &term, Type: kind.Enum(), Data: p.B})
		if len(r.b) > perConverted {
			if err := write(r); err != nil {
				return err
			}
			r = newFrame(r.b)
		}
	}
	return errors.Join(it.Error(), write(r))
}

// removeEngine removes the engine's files. Those that say that there is an engine go last.
func (l *diskLog) removeEngine() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	var last []string
	for _, name := range names {
		path := l.fs.PathJoin(l.dir, name)
		switch number, ok := logNumber(name); {
		case name == "LOCK":
			continue
		case strings.HasPrefix(name, "marker."), strings.HasPrefix(name, "MANIFEST"), name == "CURRENT":
			last = append(last, path)
			continue
		case ok:
			content, err := l.readFile(name)
			if err != nil {
				return err
			}
			if (&logFile{number: number}).readHeader(content) {
				continue
			}
		}
		if err := l.fs.Remove(path); err != nil {
			return err
		}
	}
	if err := syncFolder(l.fs, l.dir); err != nil {
		return err
	}
	for _, path := range last {
		if err := l.fs.Remove(path); err != nil {
			return err
		}
	}
	return syncFolder(l.fs, l.dir)
}
