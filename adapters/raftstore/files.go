package raftstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// A folder is sent as its files, each a frame with the name and frames with the content, and a checksum over all of it at the
// end. A checkpoint has no folders in it.

const contentBytes = 256 << 10 // of one frame

// sendFolder sends the files of a folder.
func sendFolder(c net.Conn, fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(c, contentBytes+64)
	sum := xxhash.New()
	send := func(kind byte, content []byte) error {
		_ = c.SetWriteDeadline(time.Now().Add(fileTimeout))
		_, _ = sum.Write(appendFrame(nil, kind, content))
		return writeFrame(w, kind, content)
	}
	buffer := make([]byte, contentBytes)
	for _, name := range names {
		if err := sendFile(fs, fs.PathJoin(dir, name), name, buffer, send); err != nil {
			return err
		}
	}
	if err := writeFrame(w, frameEnd, binary.BigEndian.AppendUint64(nil, sum.Sum64())); err != nil {
		return err
	}
	return w.Flush()
}

func sendFile(fs vfs.FS, path, name string, buffer []byte, send func(kind byte, content []byte) error) error {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := send(frameFile, []byte(name)); err != nil {
		return err
	}
	for {
		n, err := f.Read(buffer)
		if n > 0 {
			if err := send(frameContent, buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// receiveFolder reads files into a folder, and makes them durable. What was in the folder is removed.
func receiveFolder(c net.Conn, fs vfs.FS, dir string) (err error) {
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	if err := makeFolder(fs, dir); err != nil {
		return err
	}
	sum := xxhash.New()
	var f vfs.File
	finish := func() error {
		if f == nil {
			return nil
		}
		done := f
		f = nil
		return errors.Join(done.Sync(), done.Close())
	}
	defer func() { err = errors.Join(err, finish()) }()
	r := bufio.NewReaderSize(c, contentBytes)
	for {
		_ = c.SetReadDeadline(time.Now().Add(fileTimeout))
		kind, content, err := readFrame(r)
		if err != nil {
			return err
		}
		if kind != frameEnd { // a file system may change the bytes that it is given
			_, _ = sum.Write(appendFrame(nil, kind, content))
		}
		switch kind {
		case frameFile:
			if err := finish(); err != nil {
				return err
			}
			name := string(content)
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
				return fmt.Errorf("a checkpoint with a file named %q", name)
			}
			if f, err = fs.Create(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified); err != nil {
				return err
			}
		case frameContent:
			if f == nil {
				return errors.New("a checkpoint begins without a file's name")
			}
			if _, err := f.Write(content); err != nil {
				return err
			}
		case frameEnd:
			if err := finish(); err != nil {
				return err
			}
			if len(content) != 8 || binary.BigEndian.Uint64(content) != sum.Sum64() {
				return errors.New("a checkpoint whose checksum is wrong")
			}
			return errors.Join(syncFolder(fs, dir), syncFolder(fs, fs.PathDir(dir)))
		default:
			return fmt.Errorf("frame %q came where a file was expected", kind)
		}
	}
}

// makeFolder makes a folder, and makes durable that it is there.
func makeFolder(fs vfs.FS, dir string) error {
	if info, err := fs.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir && parent != "." {
		if err := makeFolder(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return syncFolder(fs, parent)
}

// checkFiles refuses what is in the place of a file in some folders, and would have its reader wait.
func checkFiles(fs vfs.FS, dirs ...string) (err error) {
	if fs != vfs.Default { // a test's disk has files only
		return nil
	}
	for _, dir := range dirs {
		err = errors.Join(err, durable.CheckFiles(dir))
	}
	return err
}

func syncFolder(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
