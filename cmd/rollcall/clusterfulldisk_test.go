//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// volume is the file system of a node, which a ballast fills.
type volume struct{ at string }

// mounted makes a small file system in memory, and mounts it at a folder. The test is skipped where that is not possible.
func mounted(t *testing.T, at string) volume {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("file systems of a fixed size need root")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256m", "rollcall-test", at).CombinedOutput(); err != nil {
		t.Skipf("no file system of a fixed size can be mounted: %v, %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("%v, %s", err, out)
		}
	})
	return volume{at}
}

// fill leaves this much of the volume free.
func (v volume) fill(t *testing.T, leave uint64) {
	t.Helper()
	ballast, err := os.OpenFile(filepath.Join(v.at, "ballast"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for size := int64(0); ; {
		var usage unix.Statfs_t
		if err := unix.Statfs(v.at, &usage); err != nil {
			t.Fatal(err)
		}
		free := usage.Bavail * uint64(usage.Bsize)
		if free <= leave {
			return
		}
		more := int64(free - leave)
		err := unix.Fallocate(int(ballast.Fd()), 0, size, more)
		if errors.Is(err, unix.ENOSPC) { // the node was quicker
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		size += more
	}
}

// free gives the space of the ballast back.
func (v volume) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(v.at, "ballast")); err != nil {
		t.Fatal(err)
	}
}

// loaded registers instances at all nodes until it is ended. It knows what was acknowledged.
type loaded struct {
	*trio
	stop         context.CancelFunc
	writers      sync.WaitGroup
	mu           sync.Mutex
	acknowledged []string
}

func (c *trio) load(ids ...string) *loaded {
	ctx, stop := context.WithCancel(c.t.Context())
	l := &loaded{trio: c, stop: stop}
	for w := range 6 {
		own := c.client(append(slices.Clone(ids[w%len(ids):]), ids[:w%len(ids)]...)...)
		l.writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("w%d-%d", w, n)
				details := domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Metadata: map[string]string{"padding": fmt.Sprintf("%02000d", n)}}
				within, cancel := context.WithTimeout(ctx, 20*time.Second)
				if _, err := own.Register(within, domain.Key{Service: "web", ID: id}, details, client.CreateOnly()); err == nil {
					l.mu.Lock()
					l.acknowledged = append(l.acknowledged, id)
					l.mu.Unlock()
				}
				cancel()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *loaded) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// goesOn waits until further commands are acknowledged.
func (l *loaded) goesOn(what string) {
	l.t.Helper()
	before := l.count()
	l.until(what, func() error {
		if n := l.count(); n < before+50 {
			return fmt.Errorf("%d commands were acknowledged", n-before)
		}
		return nil
	})
}

// The disks of nodes are filled to the last byte while clients write, one after the other and all at once. The others go on. A
// node whose disk has space again goes on by itself or after a restart, nothing that was acknowledged is lost, and the
// stores are equal.
func TestAClusterWhoseDisksAreFullLosesNothing(t *testing.T) {
	tortureLasts(t)
	c := newTrio(t, nil)
	ids := []string{"n1", "n2", "n3"}
	volumes := map[string]volume{}
	for id, n := range c.nodes {
		volumes[id] = mounted(t, n.data)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if t.Failed() && n.process != nil {
				t.Logf("%s\n%s", n.id, n.logs)
			}
		}
	})
	c.start(ids...)
	l := c.load(ids...)
	l.goesOn("commands are acknowledged")
	// recover gives a node its space back, and starts it again if it has ended or stopped.
	recovered := func(what string, ids ...string) {
		for _, id := range ids {
			volumes[id].free(t)
		}
		for _, id := range ids {
			c.until(what+": "+id+" recovers", func() error {
				select {
				case err := <-c.nodes[id].done:
					t.Logf("%s: the process of %s has ended: %v", what, id, err)
					c.start(id)
				default:
				}
				status, body, err := c.nodes[id].send("GET", "/readyz", "")
				switch {
				case err != nil || status == 200:
					return err
				case strings.Contains(string(body), "takes no more appends"): // it says that it is to be started again
					t.Logf("%s: %s has stopped", what, id)
					if err := c.nodes[id].end(syscall.SIGTERM); err != nil {
						t.Logf("%s ended with %v", id, err)
					}
					c.start(id)
				}
				return fmt.Errorf("%d %s", status, body)
			})
		}
		l.goesOn(what + ": commands go on at the end")
	}
	for _, leave := range []uint64{0, 4096, 300 << 10, 900 << 10} {
		for _, whom := range []string{"the leader", "a follower"} {
			leader, others := c.leader(ids[0])
			victim := leader
			if whom != "the leader" {
				victim = others[0]
			}
			what := fmt.Sprintf("the disk of %s, %s, has %d bytes left", whom, victim, leave)
			t.Log(what)
			volumes[victim].fill(t, leave)
			l.goesOn(what)
			recovered(what, victim)
		}
	}
	what := "all disks are full"
	for _, id := range ids {
		volumes[id].fill(t, 0)
	}
	c.until(what, func() error { // nothing is acknowledged any more
		before := l.count()
		time.Sleep(time.Second)
		if n := l.count(); n != before {
			return fmt.Errorf("%d commands were acknowledged", n-before)
		}
		return nil
	})
	recovered(what, ids...)
	l.stop()
	l.writers.Wait()
	c.equal(ids...)
	for _, id := range ids {
		c.has(id, l.acknowledged...)
	}
	t.Logf("%d registrations were acknowledged", l.count())
	for _, id := range ids {
		if err := c.nodes[id].end(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", id, err)
		}
	}
}
