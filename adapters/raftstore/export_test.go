package raftstore

import (
	"errors"
	"log/slog"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
)

// ShortenLog has the log of a node that does not run end at an entry, and removes what tells where it ended. With forgets it says that no later one is committed.
func ShortenLog(fs vfs.FS, last uint64, forgets bool) error {
	l, err := openLog("data/"+logFolder, fs, 64<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	last = max(last, l.cut)
	who, state, cut, term := l.who(), proto.CloneOf(l.state), l.cut, l.cutTerm
	entries, err := l.Entries(cut+1, last+1, math.MaxUint64)
	if err = errors.Join(err, l.close(), fs.RemoveAll("data/"+logFolder)); err != nil {
		return err
	}
	if forgets {
		state.Commit = new(min(state.GetCommit(), last))
	}
	if l, err = openLog("data/"+logFolder, fs, 64<<20, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	b := &logBatch{}
	b.add(entries)
	err = errors.Join(l.reset(cut, term, state), l.saveIdentity(func(i *identity) { *i = who }), l.write(b), l.close())
	return errors.Join(err, fs.Remove(l.end.path()))
}
