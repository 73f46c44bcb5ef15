package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// A cache that cannot be written is not told as a stream that is lost, and each cause is told once.
func TestAnAgentTellsStreamAndCacheApart(t *testing.T) {
	full := func(temporary string) error {
		return &watch.CacheFailed{Path: "cache.json", Not: "written", Err: &fs.PathError{Op: "write", Path: temporary, Err: errors.New("no space left")}}
	}
	lost := errors.New("connection refused")
	var out bytes.Buffer
	tell := logStream(slog.New(slog.NewJSONHandler(&out, nil)))
	for _, s := range []watch.State{
		{Err: lost}, {Err: lost}, {Live: true}, {Live: true, Err: full("1.tmp")}, {Live: true, Err: full("2.tmp")}, {Err: lost},
		{Live: true, Err: full("3.tmp")}, {Live: true}, {Err: errors.New("another")},
	} {
		tell(s)
	}
	var told []string
	for line := range strings.Lines(out.String()) {
		var entry struct{ Msg, Cause string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		told = append(told, strings.Split(entry.Msg, ";")[0]+" "+entry.Cause)
	}
	const isLost, isUp = "the registry's stream is lost ", "the registry's stream is up "
	want := []string{
		isLost + "connection refused", isUp, "the cache cannot be kept the cache cache.json is not written: write: no space left", isLost + "connection refused",
		isUp, "the cache is kept again ", isLost + "another",
	}
	if !slices.Equal(told, want) {
		t.Errorf("it is told:\n%s", strings.Join(told, "\n"))
	}
}

func TestRunSaysThatItsInstanceIsKeptAgain(t *testing.T) {
	var told []string
	tell := tellKept(domain.Key{Namespace: "default", Service: "web", ID: "a"}, func(format string, values ...any) { told = append(told, fmt.Sprintf(format, values...)) })
	lost := errors.New("connection refused")
	for _, s := range []client.State{
		{Phase: client.Pending, Err: lost}, {Phase: client.Registered, Epoch: 1}, {Phase: client.Registered, Epoch: 1, Err: lost}, {Phase: client.Registered, Epoch: 1},
		{Phase: client.Registered, Epoch: 1}, {Phase: client.Pending, Epoch: 1, Err: lost}, {Phase: client.Registered, Epoch: 2}, {Phase: client.Replaced, Epoch: 2, Err: lost},
	} {
		tell(s)
	}
	want := []string{
		"default/web/a: connection refused", "default/web/a is registered (epoch 1)", "default/web/a: connection refused", "default/web/a is kept registered again",
		"default/web/a: connection refused", "default/web/a is registered (epoch 2)", "default/web/a was registered by another process: connection refused",
	}
	if !slices.Equal(told, want) {
		t.Errorf("it says:\n%s", strings.Join(told, "\n"))
	}
}
