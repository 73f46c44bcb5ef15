package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// file is what the agent knows of a file.
type file struct {
	seen        os.FileInfo  // at the newest look; nil: the file could not be looked at
	read        os.FileInfo  // of the version that was read last; nil: none was
	gone        bool         // the newest look did not find the file
	definitions []Definition // of the newest version without a mistake
	err         error        // of the newest version
}

// unchanged says whether two looks saw the same version of a file.
func unchanged(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// looking is how the agent looks at its files.
type looking int

const (
	again looking = iota // at what has changed
	first                // at the start
	asked                // at all, because somebody said that they are ready
)

// freshFor is how long after a change a file may not be whole yet, at the first look.
const freshFor = 2 * time.Second

// counts says whether a file counts at once, though no look before saw it so. At the start, a file does that nobody changed just now.
func (l looking) counts(info os.FileInfo, now time.Time) bool {
	return l == asked || l == first && now.Sub(info.ModTime()).Abs() > freshFor
}

// read reads the files that changed, or all, and brings the instances in line.
//
// Nothing is taken out of the registry by accident. A file with a mistake keeps what it defined before, and so does all of a path that
// cannot be read. A file that changed, or is gone, counts when two looks in a row saw it so: an editor may be about to write the rest of it,
// or to put another one in its place.
func (a *Agent) read(l looking) {
	paths, faults := Files(a.options.Paths)
	changed := a.tell(faults)
	known := map[string]*file{}
	for _, path := range paths {
		f := a.files[path]
		if f == nil {
			f = &file{}
		}
		known[path] = f
		f.gone = false
		if f.due(path, l) {
			changed = a.readOne(path, f) || changed
		}
	}
	for path, f := range a.files {
		if known[path] != nil {
			continue
		}
		unreadable := slices.ContainsFunc(faults, func(err error) bool { return covers(err, path) })
		if !unreadable && (l == asked || f.gone) {
			changed = true
			continue
		}
		f.gone = !unreadable
		if f.unreadable() { // it went between the listing and its reading: what the path says is enough
			f.err, changed = nil, true
		}
		known[path] = f
		paths = append(paths, path)
	}
	a.files = known
	if changed {
		slices.Sort(paths)
		a.define(paths)
	}
}

// due looks at a file and says whether it is to be read now. Whether a file can be read changes without a trace in the file, so one that
// could not is read again at each look.
func (f *file) due(path string, l looking) bool {
	info, err := os.Stat(path)
	if err != nil {
		info = nil
	}
	settled := unchanged(info, f.seen)
	f.seen = info
	return err != nil || l.counts(info, time.Now()) || f.unreadable() || settled && !unchanged(info, f.read)
}

// settling says whether a file is there that was never read, because it changed just now.
func (a *Agent) settling() bool {
	for _, f := range a.files {
		if f.read == nil && f.err == nil {
			return true
		}
	}
	return false
}

// unreadable says whether the file could not be read, whatever is in it.
func (f *file) unreadable() bool { return errors.As(f.err, new(*fs.PathError)) }

// readOne reads a file, and says whether that changed anything.
func (a *Agent) readOne(path string, f *file) bool {
	definitions, err := ReadFile(path, a.options.Defaults)
	f.read = f.seen
	if err != nil {
		again := f.err != nil && f.err.Error() == err.Error()
		if f.err = err; !again {
			a.options.Logger.Error("a file of definitions is wrong; what it defined before stays", "cause", err)
		}
		return !again
	}
	f.definitions, f.err = definitions, nil
	a.options.Logger.Info("definitions read", "file", path, "instances", len(definitions))
	return true
}

// tell logs the faults of paths that are new, and says whether there are others than at the look before.
func (a *Agent) tell(faults []error) bool {
	same := func(x, y error) bool { return x.Error() == y.Error() }
	for _, err := range faults {
		if !slices.ContainsFunc(a.faults, func(before error) bool { return same(before, err) }) {
			a.options.Logger.Error("a path of definitions cannot be read; what it defined before stays", "cause", err)
		}
	}
	changed := !slices.EqualFunc(a.faults, faults, same)
	a.faults = faults
	return changed
}

// covers says whether a path that cannot be read is a file, or its folder.
func covers(fault error, path string) bool {
	var bad *BadFile
	return errors.As(fault, &bad) && (bad.File == path || filepath.Clean(bad.File) == filepath.Dir(path))
}

// define brings the instances in line with what files define.
func (a *Agent) define(paths []string) {
	problems := slices.Clone(a.faults)
	wanted := map[domain.Key]Definition{}
	if n := a.options.Node; n != nil {
		wanted[n.Key] = *n
	}
	for _, path := range paths {
		f := a.files[path]
		if f.err != nil {
			problems = append(problems, f.err)
		}
		for _, d := range f.definitions {
			if _, twice := wanted[d.Key]; twice {
				err := &BadFile{File: path, Err: errors.New("defines " + d.Key.String() + ", which is defined already")}
				a.options.Logger.Error("an instance is defined twice", "cause", err)
				problems = append(problems, err)
				continue
			}
			wanted[d.Key] = d
		}
	}
	a.mu.Lock()
	a.problems, a.defined = problems, wanted
	a.mu.Unlock()
	a.apply(wanted)
}
