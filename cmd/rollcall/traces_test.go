package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// openFolder opens a node on a data folder, runs it until its history has what its log has, after what do did, and
// closes it.
func openFolder(t *testing.T, data string, do func(*node)) error {
	t.Helper()
	s := settings{data: data, store: "embedded", retention: 72 * time.Hour, minFree: 1}
	n, err := openNode(t.Context(), s, slog.New(slog.DiscardHandler), func(string, func() error) {})
	if err != nil {
		return err
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	running := make(chan error, 1)
	go func() { running <- errorsOfRuns(t, n) }()
	do(n)
	head, err := n.store.Head(t.Context())
	if err == nil {
		err = n.history.WaitFor(t.Context(), head)
	}
	if err == nil {
		err = n.live.WaitFor(t.Context(), head)
	}
	n.stop()
	if runErr := <-running; err == nil {
		err = runErr
	}
	return err
}

// errorsOfRuns runs the projections until the node stops.
func errorsOfRuns(t *testing.T, n *node) error {
	past := make(chan error, 1)
	go func() { past <- n.history.Run(n.stopping, n.store) }()
	err := n.live.Run(n.stopping)
	if pastErr := <-past; err == nil {
		err = pastErr
	}
	return err
}

func registerInstance(t *testing.T, n *node, id string) {
	t.Helper()
	key := domain.Key{Namespace: "default", Service: "web", ID: id}
	r := n.commands.Do(t.Context(), commands.Caller{Actor: "ann"}, commands.Request{Command: domain.RegisterInstance{
		Key: key, Details: domain.Details{Address: "10.0.0.1", Weight: 100, Status: domain.Passing, TTL: domain.Duration(time.Hour)},
	}})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
}

func TestARegistryDoesNotStartWithoutTheEventsOfItsTraces(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "a") }); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "events")
	if err := os.Rename(filepath.Join(data, "events"), away); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		err := openFolder(t, data, func(*node) {})
		if err == nil || !strings.Contains(err.Error(), "history/") || !strings.Contains(err.Error(), "rollcall store forget --data "+data) {
			t.Fatalf("started on traces without events: %v", err)
		}
	}
	refused()
	if err := os.Mkdir(filepath.Join(data, "events"), 0o750); err != nil { // where a disk is to be mounted
		t.Fatal(err)
	}
	refused()
	if err := os.Remove(filepath.Join(data, "events")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, filepath.Join(data, "events")); err != nil { // it is mounted
		t.Fatal(err)
	}
	if err := openFolder(t, data, func(n *node) {
		if n.live.Catalog().Len() != 1 || n.store.Timelines().Name != "" {
			t.Errorf("%d instances on %+v", n.live.Catalog().Len(), n.store.Timelines())
		}
	}); err != nil {
		t.Fatal(err)
	}
	if out, err := rollcall("store", "forget", "--data", data); err == nil {
		t.Errorf("a store that is there was forgotten: %s", out)
	}
	if err := os.RemoveAll(filepath.Join(data, "events")); err != nil { // it is lost for good
		t.Fatal(err)
	}
	if out, err := rollcall("store", "forget", "--data", data); err != nil || !strings.Contains(out, "put aside history/") {
		t.Fatalf("%s, %v", out, err)
	}
	if aside, err := filepath.Glob(filepath.Join(data, "history.forgotten-*")); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
	if err := openFolder(t, data, func(n *node) {
		if n.live.Catalog().Len() != 0 {
			t.Errorf("%d instances", n.live.Catalog().Len())
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// The log's end is lost, and what was made from it is not: the positions that were told begin a timeline.
func TestALogThatLostItsEndGoesOnAsATimelineOfItsOwn(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "a") }); err != nil {
		t.Fatal(err)
	}
	earlier := filepath.Join(t.TempDir(), "events")
	if err := os.CopyFS(earlier, os.DirFS(filepath.Join(data, "events"))); err != nil {
		t.Fatal(err)
	}
	var lost eventstore.Position
	if err := openFolder(t, data, func(n *node) {
		registerInstance(t, n, "b")
		registerInstance(t, n, "c")
		lost, _ = n.store.Head(t.Context())
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(data, "events")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(earlier, filepath.Join(data, "events")); err != nil {
		t.Fatal(err)
	}
	name := ""
	for range 2 { // it is mended once
		if err := openFolder(t, data, func(n *node) {
			timelines := n.store.Timelines()
			if name == "" {
				name = timelines.Name
			}
			if _, relation := timelines.Resolve("", lost); timelines.Name == "" || timelines.Name != name || relation != eventstore.Lost {
				t.Errorf("it is on %+v", timelines)
			}
			var began domain.TimelineBegan
			for e, err := range n.store.ReadStream(t.Context(), eventstore.RegistryStream, eventstore.ReadOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				event, err := eventstore.Decode(&e)
				if b, ok := event.(domain.TimelineBegan); ok && err == nil {
					began = b
				}
			}
			if began.Reason != domain.TailLost || began.Lost != uint64(lost) || began.Timeline != name {
				t.Errorf("the log says %+v", began)
			}
			if n.live.Catalog().Len() != 1 {
				t.Errorf("%d instances", n.live.Catalog().Len())
			}
			if err := n.history.WaitFor(t.Context(), n.live.Position()); err != nil || n.history.Leaves() != 2 {
				t.Errorf("the history has %d events, %v", n.history.Leaves(), err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
