package raftstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// operations are the kinds of file operations at which an error is injected.
var operations = []errorfs.OpKind{
	errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileWrite, errorfs.OpCreate, errorfs.OpRename, errorfs.OpLink, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpRemove,
	errorfs.OpReuseForWrite, errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFilePreallocate, errorfs.OpFileSyncTo, errorfs.OpFileFlush, errorfs.OpFileClose,
}

// nodeChild is a node of a cluster in a process of its own: the engine ends the process at some errors.
type nodeChild struct {
	*exec.Cmd
	ended    chan struct{} // closed when the process has ended
	injected atomic.Bool
	told     atomic.Bool // it acknowledged an event
	acked    *sync.Map   // ids of events
}

// startNode starts the node n3. An error is injected at the given operation of a kind; 0: none is.
func startNode(t *testing.T, dir, addresses string, kind errorfs.OpKind, after int, acked *sync.Map) *nodeChild {
	t.Helper()
	c := &nodeChild{Cmd: exec.Command(os.Args[0], "-test.run", "^TestAnErrorAtAnyFileOperationOfANodeLosesNothing$"), ended: make(chan struct{}), acked: acked}
	c.Env = append(os.Environ(), "ROLLCALL_NODE_DIR="+dir, "ROLLCALL_NODE_ADDRESSES="+addresses, fmt.Sprintf("ROLLCALL_NODE_FAULT=%d %d", kind, after))
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "ACK "); ok {
				acked.Store(uuid.MustParse(id), true)
				c.told.Store(true)
			} else if lines.Text() == "INJECTED" {
				c.injected.Store(true)
			}
		}
		_ = c.Wait() // it may end in any way
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *nodeChild) kill() {
	_ = c.Process.Kill()
	<-c.ended
}

// runNode is the process of a node. It appends, and says what was acknowledged, until it is killed.
func runNode(t *testing.T) {
	var kind, after int64
	if _, err := fmt.Sscan(os.Getenv("ROLLCALL_NODE_FAULT"), &kind, &after); err != nil {
		t.Fatal(err)
	}
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if int64(op.Kind) != kind || atomic.AddInt64(&after, -1) != 0 {
			return nil
		}
		fmt.Println("INJECTED")
		return errors.New("injected")
	}))
	members := addressed(os.Getenv("ROLLCALL_NODE_ADDRESSES"))
	s, err := raftstore.Open(raftstore.Config{Node: "n3", Members: members, Dir: os.Getenv("ROLLCALL_NODE_DIR"), LogBytes: 32 << 10, Store: pebblestore.Options{FS: fs, MinFree: 1}})
	if err != nil || s.Ready(ctx) != nil {
		return
	}
	for {
		request := eventstore.AppendRequest{Stream: stream(3), Events: events(1, strings.Repeat("x", 300))}
		request.Events[0].ID = uuid.New()
		if results, err := s.Append(ctx, nil, request); err == nil && results[0].Err == nil {
			fmt.Println("ACK", request.Events[0].ID)
		}
		time.Sleep(time.Millisecond)
	}
}

// addressed are the members n1, n2 and n3 at addresses.
func addressed(addresses string) map[string]string {
	members := map[string]string{}
	for i, address := range strings.Split(addresses, ",") {
		members[fmt.Sprint("n", i+1)] = address
	}
	return members
}

// An error at any kind of file operation of a node, at any moment, loses nothing that was acknowledged, and the others go on. Started
// again, the node is level with the others.
func TestAnErrorAtAnyFileOperationOfANodeLosesNothing(t *testing.T) {
	if os.Getenv("ROLLCALL_NODE_DIR") != "" {
		runNode(t)
		return
	}
	rounds, kinds, late := 1, operations[:3], 8
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		rounds, kinds, late = 4, operations, 10
	}
	var listening []string
	for range three {
		listening = append(listening, freeAddress(t))
	}
	addresses, dir, acked := strings.Join(listening, ","), t.TempDir(), &sync.Map{}
	c := newCluster(t, three...)
	c.members = addressed(addresses)
	c.change = func(config *raftstore.Config) {
		config.Network, config.Listen, config.LogBytes = nil, config.Members[config.Node], 32<<10
	}
	third := startNode(t, dir, addresses, 0, 0, acked) // a cluster is founded when all have met
	c.start("n1")
	c.start("n2")
	c.ready(c.nodes["n1"])
	c.ready(c.nodes["n2"])
	level := func() {
		t.Helper()
		c.until("n3 to be level", func() bool {
			for _, s := range c.nodes {
				for _, m := range s.Status().Members {
					if m.Name == "n3" && m.Connected && m.Behind >= 0 && m.Behind < 100 {
						return true
					}
				}
			}
			within, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_ = c.nodes["n1"].Transfer(within, "n1") // how far n3 is only a leader knows
			return false
		})
		c.until("n3 to acknowledge an event", third.told.Load)
	}
	level()
	faults, own := 0, 0
	for _, kind := range kinds {
		for range rounds {
			third.kill()
			third = startNode(t, dir, addresses, kind, 1+rand.IntN(1<<rand.IntN(late)), acked)
			within, cancel := context.WithTimeout(ctx, time.Second)
			_ = c.nodes["n1"].Transfer(within, "n3") // n3 may not be there
			cancel()
			for n := 0; n < 300 && !third.injected.Load(); n++ {
				c.append([]string{"n1", "n2"}[n%2], eventstore.AppendRequest{Stream: stream(n % 2), Events: events(1, strings.Repeat("x", 300))})
				own++
				time.Sleep(time.Millisecond)
			}
			c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "the others go on")})
			own++
			if third.injected.Load() {
				faults++
			}
			third.kill()
			third = startNode(t, dir, addresses, 0, 0, acked)
			level()
		}
	}
	third.kill()
	all := c.equal()
	there := map[uuid.UUID]bool{}
	for _, e := range all {
		there[e.ID] = true
	}
	told := 0
	acked.Range(func(id, _ any) bool {
		if told++; !there[id.(uuid.UUID)] {
			t.Errorf("event %s was acknowledged and is not there", id)
		}
		return true
	})
	s, err := pebblestore.Open(dir+"/events", pebblestore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// the end of the process may have lost any number of them, which the log has
	if third := readAll(t, s); len(third) > len(all) || len(third) > 0 && !reflect.DeepEqual(third, all[:len(third)]) {
		t.Errorf("n3 has other events: %s", difference(all, third))
	}
	t.Logf("%d faults were injected; n3 acknowledged %d events, the others %d", faults, told, own)
	if faults == 0 || told == 0 {
		t.Error("nothing was injected, or nothing acknowledged")
	}
}
