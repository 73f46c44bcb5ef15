package raftstore_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// newestFile is the file to which the log of a node was written last, and its content.
func newestFile(t *testing.T, fs vfs.FS) (path string, content []byte) {
	t.Helper()
	names, err := fs.List("data/raft/log")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	path = "data/raft/log/" + slices.Max(names)
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func writeFile(t *testing.T, fs vfs.FS, path string, content []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
}

// A node whose log has lost its newest file, or the end of it after a regular end, is refused at each start, be its store there or not.
func TestALogThatHasLostItsEndIsRefused(t *testing.T) {
	for what, lose := range map[string]func(t *testing.T, fs vfs.FS){
		"its newest file": func(t *testing.T, fs vfs.FS) {
			path, _ := newestFile(t, fs)
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"half of its newest file": func(t *testing.T, fs vfs.FS) {
			path, content := newestFile(t, fs)
			writeFile(t, fs, path, content[:len(content)/2])
		},
		"the content of its newest file": func(t *testing.T, fs vfs.FS) {
			path, _ := newestFile(t, fs)
			writeFile(t, fs, path, nil)
		},
	} {
		for _, store := range []bool{true, false} {
			t.Run(what, func(t *testing.T) {
				c := newCluster(t, three...)
				c.startAll()
				for range 20 {
					c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
				}
				c.equal()
				c.stop("n3")
				lose(t, c.disks["n3"])
				if !store {
					if err := c.disks["n3"].RemoveAll("data/events"); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					c.openFails("n3", raftstore.ErrLogDamaged)
				}
				c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
			})
		}
	}
}

// A node that ends and starts again and again finds the end of its log each time.
func TestALogThatWasClosedIsOpenedAgain(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	for range 3 {
		for _, name := range three {
			c.append(name, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
			c.stop(name)
			c.ready(c.start(name))
		}
	}
	if all := c.equal(); len(all) != 9 {
		t.Errorf("there are %d events", len(all))
	}
}
