package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log cannot tell by itself that its end is missing: what is there is taken for all that there was. But the node has confirmed
// those entries, and has voted. So a file beside the log's folder says which of the log's files is the newest, and, after a regular end,
// where the log ended.
//
// INVARIANT: the newest file is there before this file says so, and this file says so before anything is confirmed that is in the
// newest file.
//
// What is lost is not always noticed: of a newest file that is there, only the end may be missing, and after a crash this looks like
// what the crash itself leaves.

// logEnd is the content of the file.
type logEnd struct {
	File   string     `json:"file"`             // the newest file of the log
	Closed *closedLog `json:"closed,omitempty"` // nil: the log was not closed since
}

// closedLog is where a log ended when it was closed.
type closedLog struct {
	Index uint64 `json:"index"` // of the last entry
	Term  uint64 `json:"term"`  // of the node
	Vote  uint64 `json:"vote"`  // in that term
}

// ends is where the log ends.
func (l *diskLog) ends() closedLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return closedLog{l.last, l.state.GetTerm(), l.state.GetVote()}
}

// ending writes the file of a log.
type ending struct {
	fs     vfs.FS
	dir    string  // folder of the log
	before *logEnd // what the file said; nil: there was none
	damage error   // what is missing of the log; the file stays as it is then
	newest string  // of this process; "": it has begun no file yet
}

func (e *ending) path() string { return e.dir + ".end" }

// look reads the file before the log is opened, and finds out whether the newest file of the log is there.
func (e *ending) look() error {
	f, err := e.fs.Open(e.path())
	if err != nil {
		if _, missing := e.fs.Stat(e.path()); missing != nil {
			return nil
		}
		return err
	}
	content, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read where the log ends: %w", err)
	}
	before := &logEnd{}
	if err := json.Unmarshal(content, before); err != nil || before.File == "" {
		return fmt.Errorf("%w: %s does not say which of its files is the newest", ErrLogDamaged, e.path())
	}
	e.before = before
	if _, err := e.fs.Stat(e.fs.PathJoin(e.dir, before.File)); err != nil {
		e.damage = fmt.Errorf("%w: its newest file %s is missing", ErrLogDamaged, before.File)
	}
	return nil
}

// expect refuses a log of a node that is known to be one when nothing says where the log ends. Something has removed the file, and may have
// removed the newest files of the log with it: the log cannot tell.
func (e *ending) expect(who identity) {
	if e.damage == nil && e.before == nil && who.ID != 0 { // the file is there before a node has its id
		e.damage = fmt.Errorf("%w: %s is missing, so that nobody knows where the log ended", ErrLogDamaged, e.path())
	}
}

// names says whether a file of the log was known to be there.
func (e *ending) names(file string) bool { return e.before != nil && e.before.File == file }

// compare holds what was read of a log that was closed regularly against where it ended.
func (e *ending) compare(now closedLog) {
	if e.damage != nil || e.before == nil || e.before.Closed == nil {
		return
	}
	was := *e.before.Closed
	switch {
	case now.Index < was.Index:
		e.damage = fmt.Errorf("%w: it ends at entry %d, and ended at entry %d when it was closed", ErrLogDamaged, now.Index, was.Index)
	case now.Term < was.Term || now.Term == was.Term && now.Vote != was.Vote:
		e.damage = fmt.Errorf("%w: the node's vote in term %d is missing", ErrLogDamaged, was.Term)
	}
}

// begun notes that another file was begun. Nothing is confirmed that is in it before.
func (e *ending) begun(name string) error {
	if e.damage != nil {
		return nil
	}
	if err := e.write(logEnd{File: name}); err != nil {
		return fmt.Errorf("note the newest file of the log: %w", err)
	}
	e.newest = name
	return nil
}

// converted notes that a file has all that the engine of an earlier version had, whose files are removed next.
func (e *ending) converted(name string) error {
	if e.damage != nil {
		return nil
	}
	e.before = &logEnd{File: name}
	return e.write(*e.before)
}

// closed notes where a log ended that is closed.
func (e *ending) closed(at closedLog) error {
	if e.newest == "" || e.damage != nil {
		return nil
	}
	return e.write(logEnd{File: e.newest, Closed: &at})
}

// write replaces the file.
func (e *ending) write(end logEnd) error {
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	next := e.path() + ".next"
	f, err := e.fs.Create(next, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(e.fs.Rename(next, e.path()), syncFolder(e.fs, e.fs.PathDir(e.dir)))
}
