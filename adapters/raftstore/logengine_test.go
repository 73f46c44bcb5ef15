package raftstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// engineLog makes a log as earlier versions kept it, with the entries 5 to 40 after a cut, and says what it has.
func engineLog(t *testing.T, fs vfs.FS) kept {
	t.Helper()
	if err := makeFolder(fs, "raft/log"); err != nil {
		t.Fatal(err)
	}
	newest := ""
	db, err := pebble.Open("raft/log", &pebble.Options{
		FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: pebblestore.EngineLog{Logger: slog.New(slog.DiscardHandler)},
		EventListener: &pebble.EventListener{WALCreated: func(info pebble.WALCreateInfo) { newest = fs.PathBase(info.Path) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	has := kept{cut: 4, cutTerm: 2, last: 40, entries: map[uint64]string{}, term: 3, vote: 9, starts: 7}
	state, err := proto.Marshal(&raftpb.HardState{Term: new(uint64(3)), Vote: new(uint64(9)), Commit: new(uint64(30))})
	if err != nil {
		t.Fatal(err)
	}
	who, err := json.Marshal(identity{ID: 9, Name: "n1", Incarnation: 7})
	if err != nil {
		t.Fatal(err)
	}
	cut := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 4), 2)
	err = errors.Join(db.Set([]byte("m/state"), state, pebble.Sync), db.Set([]byte("m/identity"), who, pebble.Sync), db.Set([]byte("m/cut"), cut, pebble.Sync))
	for index := uint64(5); index <= 40; index++ {
		e := &raftpb.Entry{Index: new(index), Term: new(uint64(3)), Type: raftpb.EntryNormal.Enum(), Data: []byte(strings.Repeat("x", int(index)))}
		has.entries[index] = content(e)
		key := binary.BigEndian.AppendUint64([]byte("e/"), index)
		err = errors.Join(err, db.Set(key, append([]byte{3, byte(raftpb.EntryNormal)}, e.Data...), pebble.Sync))
		if index == 20 {
			err = errors.Join(err, db.Flush())
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	end := &ending{fs: fs, dir: "raft/log"}
	if err := end.write(logEnd{File: newest, Closed: &closedLog{40, 3, 9}}); err != nil {
		t.Fatal(err)
	}
	return has
}

// The log of an earlier version is converted, wherever the conversion is interrupted.
func TestALogOfAnEarlierVersionIsConverted(t *testing.T) {
	for left := 0; ; left++ {
		fs := vfs.NewCrashableMem()
		has := engineLog(t, fs)
		remaining := left // operations on the disk until it fails
		l, err := openTestLog(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if remaining--; remaining < 0 {
					return errors.New("the disk is gone")
				}
			}
			return nil
		})))
		done := err == nil
		if done {
			remaining = 1 << 30
			if got := logHas(t, l); !got.equal(has) || l.identity.ID != 9 {
				t.Fatalf("it has %+v, want %+v", got, has)
			}
			writeEntries(t, l, 41, 300)
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
		} else {
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: left * 37 % 101, RNG: rand.New(rand.NewPCG(uint64(left), 1))})
		}
		again, err := openTestLog(fs)
		if err != nil {
			t.Fatalf("after %d operations: %v", left, err)
		}
		if got := logHas(t, again); !done && !got.equal(has) || done && got.last != 300 || again.end.damage != nil {
			t.Fatalf("after %d operations it has %+v, want %+v, %v", left, got, has, again.end.damage)
		}
		if err := again.close(); err != nil {
			t.Fatal(err)
		}
		if described, err := pebble.Peek("raft/log", fs); err != nil || described.Exists {
			t.Fatalf("the engine is still there: %v", err)
		}
		if done {
			return
		}
	}
}

// What an earlier version's log has lost is noticed at each start.
func TestALogOfAnEarlierVersionThatLostItsEndIsRefused(t *testing.T) {
	for _, last := range []closedLog{{41, 3, 9}, {40, 4, 9}, {40, 3, 8}} {
		fs := vfs.NewMem()
		engineLog(t, fs)
		end := &ending{fs: fs, dir: "raft/log"}
		if err := errors.Join(end.look(), end.write(logEnd{File: end.before.File, Closed: &last})); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			l, err := openTestLog(fs)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(l.end.damage, ErrLogDamaged) {
				t.Errorf("%s: its damage is %v", fmt.Sprint(last), l.end.damage)
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
