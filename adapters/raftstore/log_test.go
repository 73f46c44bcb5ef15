package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// kept is what a log must have.
type kept struct {
	cut, cutTerm, last uint64
	entries            map[uint64]string // term and data, by index
	term, vote         uint64
	starts             uint64
}

func (k kept) clone() kept {
	k.entries = maps.Clone(k.entries)
	return k
}

// logHas reads a log.
func logHas(t *testing.T, l *diskLog) (k kept) {
	t.Helper()
	k = kept{l.cut, l.cutTerm, l.last, map[uint64]string{}, l.state.GetTerm(), l.state.GetVote(), l.identity.Incarnation}
	if l.last == l.cut {
		return k
	}
	entries, err := l.Entries(l.cut+1, l.last+1, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		k.entries[e.GetIndex()] = content(e)
	}
	return k
}

// content tells entries apart.
func content(e *raftpb.Entry) string {
	return fmt.Sprintf("term %d, %d bytes %.1s", e.GetTerm(), len(e.GetData()), e.GetData())
}

func (k kept) equal(o kept) bool {
	return k.cut == o.cut && k.cutTerm == o.cutTerm && k.last == o.last && k.term == o.term && k.vote == o.vote && k.starts == o.starts && maps.Equal(k.entries, o.entries)
}

func openTestLog(fs vfs.FS) (*diskLog, error) {
	return openLog("raft/log", fs, 32<<10, slog.New(slog.DiscardHandler))
}

// change does something to a log, and says what the log must have then.
func (k kept) change(rng *rand.Rand, l *diskLog) (after kept, err error) {
	after = k.clone()
	switch n := rng.IntN(40); {
	case n == 0:
		after.cut, after.cutTerm, after.last = k.last+3, k.term, k.last+3
		after.entries = map[uint64]string{}
		return after, l.reset(after.cut, after.cutTerm, &raftpb.HardState{Term: &k.term, Vote: &k.vote, Commit: &after.cut})
	case n < 4 && k.last > k.cut:
		after.cut = k.cut + 1 + rng.Uint64N(k.last-k.cut)
		after.cutTerm, _ = l.Term(after.cut)
		maps.DeleteFunc(after.entries, func(index uint64, _ string) bool { return index <= after.cut })
		return after, l.cutTo(after.cut)
	case n < 6:
		after.starts++
		return after, l.saveIdentity(func(i *identity) { i.Incarnation++ })
	}
	b := &logBatch{}
	if rng.IntN(3) == 0 {
		after.term, after.vote = k.term+1, rng.Uint64N(3)
		b.state = &raftpb.HardState{Term: new(after.term), Vote: new(after.vote), Commit: new(k.cut)}
	}
	for range rng.IntN(3) {
		first := after.last + 1
		if rng.IntN(8) == 0 {
			first = after.cut + 1 + rng.Uint64N(first-after.cut)
		}
		maps.DeleteFunc(after.entries, func(index uint64, _ string) bool { return index >= first })
		var entries []*raftpb.Entry
		for index := first; index < first+1+rng.Uint64N(4); index++ {
			data := bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, rng.IntN(1500))
			entries = append(entries, &raftpb.Entry{Index: new(index), Term: new(after.term), Type: raftpb.EntryNormal.Enum(), Data: data})
			after.entries[index], after.last = content(entries[len(entries)-1]), index
		}
		b.add(entries)
	}
	return after, l.write(b)
}

// Whatever is written to a log, and wherever the power is lost, the log has all that was confirmed. What was not confirmed it has as a
// whole, or not at all. The files are begun, cut off and used again meanwhile.
func TestALogHasWhatItConfirmedAfterAnyCrash(t *testing.T) {
	used := false
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs, has := vfs.NewCrashableMem(), kept{entries: map[uint64]string{}}
		for range 4 {
			left := rng.IntN(150) // operations on the disk until it fails
			failing := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					if left--; left < 0 {
						return errors.New("the disk is gone")
					}
				}
				return nil
			}))
			l, err := openTestLog(failing)
			if err != nil {
				if left >= 0 {
					t.Fatalf("seed %d: %v", seed, err)
				}
				fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				continue
			}
			if got := logHas(t, l); !got.equal(has) {
				t.Fatalf("seed %d: it has %+v, want %+v", seed, got, has)
			}
			after := has
			for err == nil {
				has = after
				after, err = has.change(rng, l)
				used = used || err == nil && len(l.spares) > 0
			}
			if left >= 0 {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := l.write(&logBatch{}); err == nil {
				t.Fatalf("seed %d: it was written to after a failure", seed)
			}
			if rng.IntN(2) == 0 { // at first only the process dies
				_ = l.close()
				if l, err = openTestLog(fs); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				switch got := logHas(t, l); {
				case got.equal(after):
					has = after
				case got.equal(has):
					after = has
				default:
					t.Fatalf("seed %d: after the end of the process it has %+v, want %+v", seed, got, has)
				}
			}
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			_ = l.close()
			again, err := openTestLog(fs)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			switch got := logHas(t, again); {
			case got.equal(after):
				has = after
			case !got.equal(has):
				t.Fatalf("seed %d: after a crash it has %+v, want %+v", seed, got, has)
			}
			if err := again.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !used {
		t.Error("no file was kept to be used again")
	}
}

// writeEntries writes entries of 100 bytes, each by itself.
func writeEntries(t *testing.T, l *diskLog, from, to uint64) {
	t.Helper()
	for index := from; index <= to; index++ {
		b := &logBatch{}
		b.add([]*raftpb.Entry{{Index: new(index), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: make([]byte, 100)}})
		if err := l.write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// No byte of what was confirmed can change without notice, but for the last frame: that one may have been under way.
func TestALogNoticesEachDamagedByte(t *testing.T) {
	fs := vfs.NewMem()
	l, err := openTestLog(fs)
	if err != nil {
		t.Fatal(err)
	}
	writeEntries(t, l, 1, 6)
	end, filled := l.to.at, l.to.filled
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("raft/log.end"); err != nil { // as if it had not been closed
		t.Fatal(err)
	}
	name := "raft/log/" + logName(l.newest)
	whole, err := l.readFile(logName(l.newest))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(content []byte) (last uint64, err error) {
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(slices.Clone(content)) // with -race the file system changes what it was given
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := openTestLog(fs)
		if err != nil {
			return 0, err
		}
		return again.last, again.close()
	}
	newest := end - 100 - frameHead - 20
	for at := range end {
		changed := slices.Clone(whole)
		changed[at] ^= 4
		last, err := opens(changed)
		switch {
		case err != nil && !errors.Is(err, ErrLogDamaged):
			t.Fatalf("with byte %d changed: %v", at, err)
		case err == nil && at < newest && last > 0:
			t.Fatalf("byte %d was changed, and the log ends at %d", at, last)
		case err == nil && at >= newest && last < 5:
			t.Fatalf("byte %d was changed, and the log ends at %d", at, last)
		}
	}
	if int(filled) != len(whole) {
		t.Fatalf("it has %d bytes, and %d are filled", len(whole), filled)
	}
	for size := end; size < filled; size++ {
		if _, err := opens(whole[:size]); !errors.Is(err, ErrLogDamaged) {
			t.Fatalf("the log was shortened to %d of %d bytes: %v", size, filled, err)
		}
	}
	if last, err := opens(whole); err != nil || last != 6 {
		t.Fatalf("it ends at %d, %v", last, err)
	}
}

// A file that is missing, of which not the newest one, is noticed.
func TestALogNoticesAMissingFile(t *testing.T) {
	fs := vfs.NewMem()
	l, err := openTestLog(fs)
	if err != nil {
		t.Fatal(err)
	}
	writeEntries(t, l, 1, 200)
	if len(l.files) < 3 {
		t.Fatalf("there are %d files", len(l.files))
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range l.files[:len(l.files)-1] {
		if err := fs.Rename("raft/log/"+logName(f.number), "raft/aside"); err != nil {
			t.Fatal(err)
		}
		if _, err := openTestLog(fs); !errors.Is(err, ErrLogDamaged) {
			t.Errorf("without file %d: %v", f.number, err)
		}
		if err := fs.Rename("raft/aside", "raft/log/"+logName(f.number)); err != nil {
			t.Fatal(err)
		}
	}
}

// A node that starts again and again without anything to do keeps a few files, and writes none to look at the log.
func TestALogThatIsOpenedAgainAndAgainHasFewFiles(t *testing.T) {
	fs := vfs.NewMem()
	for n := range 20 {
		l, err := openTestLog(fs)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			writeEntries(t, l, 1, 3)
		}
		if n%2 == 0 {
			if err := l.saveIdentity(func(i *identity) { i.Incarnation++ }); err != nil {
				t.Fatal(err)
			}
		}
		if l.last != 3 || l.identity.Incarnation != uint64(n/2+1) {
			t.Errorf("it ends at %d, with %d starts", l.last, l.identity.Incarnation)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := fs.List("raft/log")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	if len(names) > 3 {
		t.Errorf("its files are %v", names)
	}
}

// With the newest files of a log, the file beside it may be lost that names the newest. What is left looks like a whole log.
func TestALogOfWhichNothingSaysWhereItEndsIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	l, err := openTestLog(fs)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil { // it is no node's yet, and confirmed nothing
		t.Fatal(err)
	}
	if l, err = openTestLog(fs); err != nil || l.end.damage != nil {
		t.Fatal(err, l.end.damage)
	}
	if err := l.saveIdentity(func(i *identity) { i.ID = 9 }); err != nil {
		t.Fatal(err)
	}
	writeEntries(t, l, 1, 200)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	for n := len(l.files); n > 0; n-- {
		if err := fs.Remove(l.end.path()); err != nil && n == len(l.files) {
			t.Fatal(err)
		}
		for range 2 {
			again, err := openTestLog(fs)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(again.end.damage, ErrLogDamaged) {
				t.Errorf("with %d of %d files: %v", n, len(l.files), again.end.damage)
			}
			if err := again.close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := fs.Remove("raft/log/" + logName(l.files[n-1].number)); err != nil {
			t.Fatal(err)
		}
	}
}

// A pipe in the place of a file of the log, or of the file that says where it ends, does not make a start wait.
func TestALogWithAPipeInThePlaceOfAFileIsRefused(t *testing.T) {
	for _, name := range []string{"log.end", "log/" + logName(1), "log/LOCK"} {
		dir := filepath.Join(t.TempDir(), "raft", "log")
		open := func() (*diskLog, error) { return openLog(dir, vfs.Default, 32<<10, slog.New(slog.DiscardHandler)) }
		l, err := open()
		if err != nil {
			t.Fatal(err)
		}
		writeEntries(t, l, 1, 3)
		pipe := filepath.Join(filepath.Dir(dir), name)
		if err := errors.Join(l.close(), os.Remove(pipe), syscall.Mkfifo(pipe, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(); !errors.Is(err, durable.ErrNotRegular) || !strings.Contains(err.Error(), pipe) {
			t.Errorf("with a pipe for %s: %v", name, err)
		}
	}
}
