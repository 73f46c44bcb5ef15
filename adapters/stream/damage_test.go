package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// damages are what may have happened to the file of a checkpoint at position 3.
var damages = map[string]func(path string) error{
	"truncated":  func(path string) error { return os.Truncate(path, 20) },
	"empty":      func(path string) error { return os.Truncate(path, 0) },
	"garbage":    func(path string) error { return os.WriteFile(path, []byte("\x00\xff garbage"), 0o600) },
	"other JSON": func(path string) error { return os.WriteFile(path, []byte(`[1,2]`), 0o600) },
	"null":       func(path string) error { return os.WriteFile(path, []byte(`null`), 0o600) },
	"no field":   func(path string) error { return os.WriteFile(path, []byte(`{}`), 0o600) },
	"another's": func(path string) error {
		return os.WriteFile(path, []byte(`{"consumer":"d/events","position":"3"}`), 0o600)
	},
	"a digit":      func(path string) error { return replaceIn(path, `"position":"3"`, `"position":"4"`) },
	"the timeline": func(path string) error { return replaceIn(path, `"position"`, `"timeline":"x","position"`) },
	"not a number": func(path string) error { return replaceIn(path, `"position":"3"`, `"position":"-3"`) },
	"not to be read": func(path string) error { // whoever runs the test may be root, who reads every file
		return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
	},
}

func replaceIn(path, old, by string) error {
	b, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(b), old) {
		err = errors.New(string(b) + " has no " + old)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(b), old, by, 1)), 0o600)
}

// A checkpoint that is damaged is put aside, the log says so, and every event comes again: nothing is left out.
func TestADamagedCheckpointCostsRepetitionsOnly(t *testing.T) {
	store := eventstoretest.NewMemory()
	for range 4 {
		put(t, store, "instance-default/web/a", "InstanceDeregistered")
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			checkpoints, err := stream.OpenCheckpoints(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := takeLogged(t, store, checkpoints, 3); got != "1 2 3" {
				t.Fatal(got)
			}
			path := filepath.Join(dir, "c%2Fevents.json")
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			got, logged := takeLogged(t, store, checkpoints, 4)
			if got != "1 2 3 4" {
				t.Errorf("events %s come, not all", got)
			}
			if !strings.Contains(logged, "checkpoint cannot be read") || !strings.Contains(logged, ".json.bad") {
				t.Errorf("the log says\n%s", logged)
			}
			if _, err := os.Stat(path + ".bad"); err != nil {
				t.Error(err)
			}
			if at, ok, err := checkpoints.Load("c/events"); err != nil || !ok || at.Number != 4 {
				t.Errorf("the new checkpoint is %v, %v, %v", at, ok, err)
			}
		})
	}
}

// takeLogged gives the positions of the next n events of a consumer, and what the log says meanwhile.
func takeLogged(t *testing.T, store eventstore.Store, checkpoints *stream.Checkpoints, n int) (positions, logged string) {
	t.Helper()
	var log strings.Builder
	sub, err := stream.NewSubscriber(stream.Config{
		Source: store, Consumer: "c", Checkpoints: checkpoints, Logger: watermill.NewSlogLogger(slog.New(slog.NewTextHandler(&log, nil))),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	messages, err := sub.Subscribe(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := range messages {
		got = append(got, m.Metadata["position"])
		m.Ack()
		if len(got) == n {
			break
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " "), log.String()
}

// A checkpoint of an earlier version has no checksum, and is believed.
func TestACheckpointOfAnEarlierVersionIsRead(t *testing.T) {
	dir := t.TempDir()
	checkpoints, err := stream.OpenCheckpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c%2Fevents.json"), []byte(`{"consumer":"c/events","position":"3","timeline":"aa"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, ok, err := checkpoints.Load("c/events"); err != nil || !ok || at != (wire.Position{Timeline: "aa", Number: 3}) {
		t.Errorf("got %v, %v, %v", at, ok, err)
	}
}

// A consumer may have a name that is longer than file systems take.
func TestAConsumersNameMayBeLong(t *testing.T) {
	checkpoints, err := stream.OpenCheckpoints(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a/", 300)
	for i, consumer := range []string{long + "1", long + "2"} {
		if err := checkpoints.Save(consumer, wire.Position{Number: eventstore.Position(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if at, ok, err := checkpoints.Load(long + "1"); err != nil || !ok || at.Number != 1 {
		t.Errorf("got %v, %v, %v", at, ok, err)
	}
}
