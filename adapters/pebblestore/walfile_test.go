package pebblestore

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFile gives a file of a log, and what is in the file.
func logFile(t *testing.T, name string, create func(fs *patientFS) (vfs.File, error)) (f vfs.File, content func() []byte) {
	t.Helper()
	fs := &patientFS{FS: vfs.NewMem()}
	f, err := create(fs)
	if err != nil {
		t.Fatal(err)
	}
	return f, func() []byte {
		r, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func newLog(fs *patientFS) (vfs.File, error) { return fs.Create("000001.log", "pebble-wal") }

func TestALogSeldomGrows(t *testing.T) {
	f, content := logFile(t, "000001.log", newLog)
	var written []byte
	grown, size := 0, 0
	for i := range 1000 {
		part := bytes.Repeat([]byte{byte(i + 1)}, 1+i%3000)
		written = append(written, part...) // a write may change what it was given
		if n, err := f.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
		if now := len(content()); now != size {
			grown, size = grown+1, now
		}
	}
	if most := len(written)/zeroedAhead + 2; grown > most {
		t.Errorf("the file grew %d times for %d bytes, more than %d times", grown, len(written), most)
	}
	if b := content(); !bytes.Equal(b[:len(written)], written) || len(bytes.Trim(b[len(written):], "\x00")) > 0 {
		t.Error("the file has not what was written, and zeros behind it")
	}
}

func TestALogThatIsUsedAgainIsNotZeroed(t *testing.T) {
	f, content := logFile(t, "000002.log", func(fs *patientFS) (vfs.File, error) {
		old, err := fs.FS.Create("000001.log", "pebble-wal")
		if err != nil {
			return nil, err
		}
		if _, err := old.Write(bytes.Repeat([]byte("old!"), 100)); err != nil {
			return nil, err
		}
		return fs.ReuseForWrite("000001.log", "000002.log", "pebble-wal")
	})
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if b := content(); len(b) != 400 || string(b[:8]) != "new!old!" {
		t.Errorf("%d bytes, %q", len(b), b[:8])
	}
	if _, err := f.Write(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if b := content(); len(b) != 503+zeroedAhead {
		t.Errorf("%d bytes", len(b))
	}
}

func TestOtherFilesGrowAsTheyAreWritten(t *testing.T) {
	f, content := logFile(t, "000001.sst", func(fs *patientFS) (vfs.File, error) { return fs.Create("000001.sst", "pebble-memtable-flush") })
	if _, err := f.Write([]byte("table")); err != nil || len(content()) != 5 {
		t.Error(len(content()), err)
	}
}

// noZeros takes no zeros ahead.
type noZeros struct{ vfs.File }

func (noZeros) WriteAt([]byte, int64) (int, error) { return 0, errors.New("no space left") }

func TestALogOfADiskWithoutSpaceForZerosIsWritten(t *testing.T) {
	f, content := logFile(t, "000001.log", newLog)
	w := f.(*walFile)
	w.File = noZeros{w.File}
	for _, part := range []string{"a", "b", "c"} {
		if _, err := f.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if b := content(); string(b) != "abc" {
		t.Errorf("%q", b)
	}
}
