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
		"the content of the file that says where it ends":   func(t *testing.T, fs vfs.FS) { writeFile(t, fs, "data/raft/log.end", nil) },
		"the beginning of the file that says where it ends": func(t *testing.T, fs vfs.FS) { writeFile(t, fs, "data/raft/log.end", []byte(`":1}}`)) },
		"the name in the file that says where it ends":      func(t *testing.T, fs vfs.FS) { writeFile(t, fs, "data/raft/log.end", []byte(`{}`)) },
		"the file that says where it ends": func(t *testing.T, fs vfs.FS) {
			if err := fs.Remove("data/raft/log.end"); err != nil {
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
				c := withoutN3(t)
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

// A node that was killed has lost the end of its log, and its store is not ahead of what is left. The leader knows what the node has
// confirmed, so that the node is refused.
func TestANodeThatLostWhatItConfirmedIsRefused(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	c.equal()
	c.stop("n3")
	early := vfs.NewMem()
	if copied, err := vfs.Clone(c.disks["n3"], early, "data/events", "events"); err != nil || !copied {
		t.Fatal(copied, err)
	}
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	last := c.nodes["n1"].Status().Applied
	c.ready(c.start("n3"))
	for range 20 {
		c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	}
	c.equal()
	c.until("the leader to be another node", func() bool { return c.leader() != "n3" || c.nodes["n3"].Transfer(ctx, "n1") == nil })
	leader := c.leader()
	c.until("the leader to know what n3 has", func() bool {
		for _, m := range c.nodes[leader].Status().Members {
			if m.Name == "n3" && m.Behind == 0 {
				return true
			}
		}
		return false
	})
	c.stop("n3")
	fs := c.disks["n3"]
	if err := raftstore.ShortenLog(fs, last, true); err != nil {
		t.Fatal(err)
	}
	if err := fs.RemoveAll("data/events"); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.Clone(early, fs, "events", "data/events"); err != nil {
		t.Fatal(err)
	}
	c.openFails("n3", raftstore.ErrLogDamaged)
}
