package raftstore

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// begin begins the next file, and writes all facts to it. REQUIRES: writing is held.
func (l *diskLog) begin() error {
	l.mu.Lock()
	next := &logFile{number: l.newest + 1, begins: l.last, ends: l.last}
	r := newFrame(nil)
	r.index(recordBegins, l.last)
	r.place(recordCut, l.cut, l.cutTerm)
	err := errors.Join(r.state(l.state), r.identity(&l.identity))
	spare := ""
	if n := len(l.spares); n > 0 {
		spare, l.spares = l.spares[n-1], l.spares[:n-1]
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	_, _ = rand.Read(next.seed[:]) // it never fails
	name := logName(next.number)
	path := l.fs.PathJoin(l.dir, name)
	if spare != "" {
		if err := l.fs.Rename(l.fs.PathJoin(l.dir, spare), path); err != nil {
			return err
		}
	}
	file, err := l.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := &writer{file: file, of: next, at: int64(headerSize)}
	info, err := file.Stat()
	if err == nil {
		w.filled = info.Size()
		_, err = file.WriteAt(next.header(), 0)
	}
	if err == nil {
		err = w.write(r, l.ahead)
	}
	if err = errors.Join(err, file.Sync(), syncFolder(l.fs, l.dir)); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := l.end.begun(name); err != nil {
		return errors.Join(err, file.Close())
	}
	before := l.to
	l.mu.Lock()
	l.to, l.newest = w, next.number
	l.files = append(l.files, next)
	l.mu.Unlock()
	if before != nil {
		if err := before.file.Close(); err != nil {
			return err
		}
	}
	return l.removeFiles()
}

// removeFiles removes the files without an entry that is part of the log. REQUIRES: writing is held, and the newest file has all facts
// durably.
//
// INVARIANT: a file begins where the one before it ends. So only the first files are removed, and those that begin and end at the same place.
func (l *diskLog) removeFiles() (err error) {
	defer func() { l.broken = l.broken || err != nil }()
	l.mu.Lock()
	var gone []string
	newest := len(l.files) - 1
	first := l.last + 1 // first index of the files behind
	for i := newest; i >= 0; i-- {
		f := l.files[i]
		if i < newest && len(f.frames) > 0 && first-1 <= l.cut {
			f.frames = nil
		}
		if len(f.frames) > 0 {
			first = f.frames[0].first
		}
	}
	leading := true
	l.files = slices.DeleteFunc(l.files, func(f *logFile) bool {
		leading = leading && len(f.frames) == 0
		remove := f.number != l.newest && len(f.frames) == 0 && (leading || f.begins == f.ends)
		if remove {
			gone = append(gone, logName(f.number))
		}
		return remove
	})
	l.mu.Unlock()
	for _, name := range gone { // one after the other, also after a crash
		path, spare := l.fs.PathJoin(l.dir, name), strings.TrimSuffix(name, suffix)+spareFiles
		l.mu.Lock()
		keep := len(l.spares) < maxSpares && !slices.Contains(l.spares, spare) // it is there twice if a crash came between
		l.mu.Unlock()
		remove := func() error { return l.fs.Remove(path) }
		if keep {
			remove = func() error { return l.fs.Rename(path, l.fs.PathJoin(l.dir, spare)) }
		}
		if err := remove(); err != nil {
			return err
		}
		if err := syncFolder(l.fs, l.dir); err != nil {
			return err
		}
		if keep { // it is written to only now that nothing takes it for a file of the log
			l.mu.Lock()
			l.spares = append(l.spares, spare)
			l.mu.Unlock()
		}
	}
	return nil
}

// listFiles lists the files of the log, in their order.
func (l *diskLog) listFiles() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch number, ok := logNumber(name); {
		case strings.HasSuffix(name, spareFiles):
			l.spares = append(l.spares, name)
		case ok:
			l.files = append(l.files, &logFile{number: number})
			l.newest = max(l.newest, number)
		}
	}
	slices.SortFunc(l.files, func(a, b *logFile) int { return cmp.Compare(a.number, b.number) })
	return nil
}

func (l *diskLog) readFile(name string) (content []byte, err error) {
	f, err := l.fs.Open(l.fs.PathJoin(l.dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	content = make([]byte, info.Size())
	if _, err = io.ReadFull(f, content); errors.Is(err, io.EOF) {
		err = nil
	}
	return content, err
}

// diskUsage is how many bytes the files take.
func (l *diskLog) diskUsage() (sum uint64) {
	names, _ := l.fs.List(l.dir)
	for _, name := range names {
		if info, err := l.fs.Stat(l.fs.PathJoin(l.dir, name)); err == nil { // else it was removed meanwhile
			sum += uint64(info.Size())
		}
	}
	return sum
}
