package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// newestLog is the file to which the log of a node was written last.
func newestLog(t *testing.T, data string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "raft", "log", "*.log"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return slices.Max(all)
}

// shorten takes bytes from the end of what a node wrote to the newest file of its log.
func shorten(t *testing.T, data string, by int64) {
	t.Helper()
	path := newestLog(t, data)
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, max(info.Size()-by, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Of a node that was killed, or ended, a part of the data folder is lost. It does not start where it cannot know any more what it has
// confirmed and for whom it voted, and says what to do; the others go on. Where only the store is lost, it copies that.
func TestANodeThatLostAPartOfItsDataFolderSaysSo(t *testing.T) {
	tortureLasts(t)
	c := newTrio(t, newAuthority(t, "cluster"))
	c.start("n1", "n2", "n3")
	n3 := c.nodes["n3"]
	within := func(names ...string) string { return filepath.Join(append([]string{n3.data}, names...)...) }
	remove := func(path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	const replace = "remove this node from the cluster, empty its data folder, and add it again"
	var before []string
	for _, lost := range []struct {
		what  string
		ended syscall.Signal
		lose  func()
		says  string // "": it starts
		then  string
	}{
		{"the store", syscall.SIGKILL, func() { remove(within("events")) }, "", ""},
		{"the folder of the log", syscall.SIGKILL, func() { remove(within("raft")) }, "has lost its log", replace},
		{"the log", syscall.SIGKILL, func() { remove(within("raft", "log")) }, "its newest file", replace},
		{"the log and what tells its end", syscall.SIGTERM, func() { remove(within("raft", "log")); remove(within("raft", "log.end")) }, "has lost its log", replace},
		{"the store and the log, but not what follows from them", syscall.SIGKILL, func() { remove(within("events")); remove(within("raft")) }, "has no event store", "is a disk not mounted?"},
		{"everything", syscall.SIGKILL, func() { remove(n3.data) }, "has lost its log", replace},
		{"the newest file of the log", syscall.SIGKILL, func() { remove(newestLog(t, n3.data)) }, "its newest file", replace},
		{"the newest file of the log", syscall.SIGTERM, func() { remove(newestLog(t, n3.data)) }, "its newest file", replace},
		{"the store and the newest file of the log", syscall.SIGKILL, func() { remove(within("events")); remove(newestLog(t, n3.data)) }, "its newest file", replace},
		{"the end of the log, after a crash", syscall.SIGKILL, func() { shorten(t, n3.data, 8<<10) }, "the log is damaged", replace},
		{"the end of the log, after a regular end", syscall.SIGTERM, func() { shorten(t, n3.data, 100) }, "the log is damaged", replace},
		{"the end of the log and the store, after a regular end", syscall.SIGTERM, func() { shorten(t, n3.data, 100); remove(within("events")) }, "the log is damaged", replace},
	} {
		what := fmt.Sprintf("%s is lost after %s", lost.what, lost.ended)
		t.Log(what)
		for range 30 {
			id := fmt.Sprint("a-", len(before))
			c.register(id, "n1", "n2", "n3")
			before = append(before, id)
		}
		c.equal("n1", "n2", "n3")
		_ = n3.end(lost.ended)
		whole := filepath.Join(t.TempDir(), "whole")
		duplicate(t, n3.data, whole)
		lost.lose()
		if lost.says != "" {
			for range 2 {
				if said := c.fails("n3"); !strings.Contains(said, lost.says) || !strings.Contains(said, lost.then) {
					t.Errorf("%s: it says %s", what, said)
				}
			}
			c.register(fmt.Sprint("beside-", len(before)), "n1", "n2")
			remove(n3.data) // what was there when it ended is good: it has done nothing since
			duplicate(t, whole, n3.data)
		}
		c.start("n3")
		c.equal("n1", "n2", "n3")
		c.has("n3", before...)
	}
}

// duplicate makes a copy of a folder.
func duplicate(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
}
