package pebblestore_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// smallDisk is a file system whose free space a test sets.
type smallDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (r *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: r.free.Load(), TotalBytes: 1 << 40}, nil
}

// On a disk that is nearly full appends are refused and reads go on. Once there is free space, appends go on too.
func TestANearlyFullDiskRefusesAppendsUntilThereIsRoom(t *testing.T) {
	fs := &smallDisk{FS: vfs.NewMem()}
	fs.free.Store(10 << 30)
	s := open(t, "data", pebblestore.Options{FS: fs, MinFree: 1 << 30})
	appendOne(t, s, stream(1))
	request := eventstore.AppendRequest{Stream: stream(1), Events: []eventstore.EventData{beat}}
	until := func(want error) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			if _, err := s.Append(ctx, nil, request); errors.Is(err, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("appends do not get to %v", want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	fs.free.Store(1 << 29)
	until(eventstore.ErrDiskFull)
	n := 0
	for _, err := range s.ReadStream(ctx, stream(1), eventstore.ReadOptions{}) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 || !errors.Is(s.Err(), eventstore.ErrDiskFull) {
		t.Errorf("%d events are readable, %v", n, s.Err())
	}
	fs.free.Store(1<<30 + 1) // a little over the line is not enough: it would flap
	time.Sleep(600 * time.Millisecond)
	if _, err := s.Append(ctx, nil, request); !errors.Is(err, eventstore.ErrDiskFull) {
		t.Errorf("just over the line an append gave %v", err)
	}
	fs.free.Store(2 << 30)
	until(nil)
}

// The clock may step by an hour either way: recorded_at never decreases.
func TestRecordedAtNeverDecreases(t *testing.T) {
	clock := wallAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	dir := t.TempDir()
	s := open(t, dir, pebblestore.Options{Now: clock.now})
	step := func() {
		for _, by := range []time.Duration{time.Second, -time.Hour, time.Minute, 2 * time.Hour, -2 * time.Hour} {
			clock.add(by)
			appendOne(t, s, stream(1))
			appendOne(t, s, heartbeats(1))
		}
	}
	step()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	clock.add(-24 * time.Hour)
	s = open(t, dir, pebblestore.Options{Now: clock.now})
	step()
	var last time.Time
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.RecordedAt.Before(last) {
			t.Fatalf("position %d was recorded at %s, after %s", e.Position, e.RecordedAt, last)
		}
		last = e.RecordedAt
	}
}

func TestAStoreOfANewerSchemaIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, pebblestore.Options{Schema: 7})
	appendOne(t, s, stream(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pebblestore.Open(dir, pebblestore.Options{}); err == nil || !strings.Contains(err.Error(), "schema 7") {
		t.Errorf("gave %v", err)
	}
	s = open(t, dir, pebblestore.Options{Schema: 8}) // a newer version goes on
	appendOne(t, s, stream(1))
}

// A record that is damaged is named, and everything else stays readable.
func TestDamageIsNamedAndTheRestIsRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, pebblestore.Options{})
	for i := range 400 {
		appendOne(t, s, stream(i))
		appendOne(t, s, heartbeats(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// As the engine has it: a value that is not what was written, under a good checksum.
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: mute{}})
	if err != nil {
		t.Fatal(err)
	}
	key := append([]byte("e/"), 0, 0, 0, 0, 0, 0, 1, 145) // position 401
	if err := db.Set(key, []byte("nonsense"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Flush(), db.Compact(ctx, []byte{0}, []byte{255}, false), db.Close()); err != nil {
		t.Fatal(err)
	}
	var damaged []eventstore.Position
	read := func() (n int) {
		damaged = nil
		s := open(t, dir, pebblestore.Options{ReadOnly: true, OnDamaged: func(d *pebblestore.Damaged) { damaged = append(damaged, d.Position) }})
		defer s.Close()
		for _, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := read(); n != 799 || len(damaged) != 1 || damaged[0] != 401 {
		t.Fatalf("%d events are readable, damaged are %v", n, damaged)
	}
	// As the disk has it: a byte of a table is another.
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 0x40
	if err := os.WriteFile(tables[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := read(); len(damaged) < 2 || n+len(damaged) < 700 {
		t.Errorf("%d events are readable, %d damaged", n, len(damaged))
	}
}

type mute struct{}

func (mute) Infof(string, ...any)         {}
func (mute) Errorf(string, ...any)        {}
func (mute) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// operations are the kinds of file operations at which an error is injected.
var operations = []errorfs.OpKind{
	errorfs.OpCreate, errorfs.OpLink, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpRemove, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpFileRead, errorfs.OpFileReadAt,
	errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileFlush, errorfs.OpFileClose,
}

// An error at any kind of file operation, at any moment, loses nothing that was acknowledged. The engine
// ends the process at some of them, so each runs in a child.
func TestAnErrorAtAnyFileOperationLosesNothing(t *testing.T) {
	if os.Getenv("ROLLCALL_FAULT_DIR") != "" {
		faultChild(t)
		return
	}
	rounds := 1
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		rounds = 12
	}
	faults := 0
	for _, kind := range operations {
		for range rounds {
			dir := t.TempDir()
			c := exec.Command(os.Args[0], "-test.run", "^TestAnErrorAtAnyFileOperationLosesNothing$", "-test.count=1")
			c.Env = append(os.Environ(), "ROLLCALL_FAULT_DIR="+dir, fmt.Sprint("ROLLCALL_FAULT_KIND=", int(kind)), fmt.Sprint("ROLLCALL_FAULT_AFTER=", 1+rand.IntN(1<<rand.IntN(8))))
			out, _ := c.CombinedOutput() // it may end in any way
			acked := map[string]int{}
			for line := range strings.Lines(string(out)) {
				var name string
				var n int
				if _, err := fmt.Sscanf(line, "ACK %s %d", &name, &n); err == nil {
					acked[name] = n
				}
				if strings.Contains(line, "INJECTED") {
					faults++
				}
			}
			s, err := pebblestore.Open(dir, pebblestore.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatalf("operation %v: the store does not open: %v", kind, err)
			}
			for name, want := range acked {
				n := 0
				for e, err := range s.ReadStream(ctx, eventstore.StreamName(name), eventstore.ReadOptions{}) {
					if err != nil || e.Revision != eventstore.Revision(n) {
						t.Fatalf("operation %v: %s has revision %d at place %d, %v", kind, name, e.Revision, n, err)
					}
					n++
				}
				if n < want {
					t.Errorf("operation %v: %s has %d events, %d were acknowledged", kind, name, n, want)
				}
			}
			appendOne(t, s, stream(0))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d faults were injected", faults)
	if faults < 3*rounds {
		t.Errorf("only %d faults were injected", faults)
	}
}

// faultChild appends, and says what was acknowledged, until an error is injected.
func faultChild(t *testing.T) {
	var kind, after int
	if _, err := fmt.Sscan(os.Getenv("ROLLCALL_FAULT_KIND"), &kind); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(os.Getenv("ROLLCALL_FAULT_AFTER"), &after); err != nil {
		t.Fatal(err)
	}
	left := int64(after)
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if int(op.Kind) != kind || atomic.AddInt64(&left, -1) != 0 {
			return nil
		}
		fmt.Println("INJECTED")
		return errors.New("injected")
	}))
	s, err := pebblestore.Open(os.Getenv("ROLLCALL_FAULT_DIR"), pebblestore.InParts(pebblestore.Options{FS: fs}, 100))
	if err != nil {
		return
	}
	for i := range 1500 {
		name := stream(i % 5)
		if i%2 == 1 {
			name = heartbeats(i % 5)
		}
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: name, Events: []eventstore.EventData{beat}}); err != nil {
			break
		}
		fmt.Println("ACK", name, i/10+1)
		if i == 1000 { // tables and their manifest, too
			s.Flush()
		}
	}
	os.Exit(0) // as it stands: nothing is closed
}
