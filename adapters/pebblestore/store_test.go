package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

var ctx = context.Background()

func open(t testing.TB, dir string, opts pebblestore.Options) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture {
		dir := t.TempDir()
		f := &eventstoretest.Fixture{}
		f.Store = open(t, dir, pebblestore.Options{})
		f.Reopen = func() eventstore.Store {
			if err := f.Store.Close(); err != nil {
				t.Fatal(err)
			}
			f.Store = open(t, dir, pebblestore.Options{})
			return f.Store
		}
		return f
	})
}

func stream(i int) eventstore.StreamName {
	return eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(i)})
}

func heartbeats(i int) eventstore.StreamName {
	return eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(i)})
}

var beat = eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"anonymous","schema":1}`)}

func appendOne(t testing.TB, s eventstore.Store, stream eventstore.StreamName) eventstore.Position {
	t.Helper()
	results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{beat}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Position
}

func TestASecondProcessIsToldWhoHasTheFolder(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, pebblestore.Options{})
	_, err := pebblestore.Open(dir, pebblestore.Options{})
	if !errors.As(err, new(pebblestore.LockedError)) {
		t.Fatalf("opening the folder twice gave %v", err)
	}
}

// Nobody is looked for who has the folder where the folder itself is what is wrong.
func TestALockThatCannotBeOpenedIsToldAsItIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "LOCK"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := pebblestore.Open(dir, pebblestore.Options{})
	if errors.As(err, new(pebblestore.LockedError)) || !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a folder in place of the lock gives %v", err)
	}
}

// wall is a clock that a test sets while the store reads it.
type wall struct{ atomic.Pointer[time.Time] }

func wallAt(t time.Time) *wall {
	w := &wall{}
	w.Store(&t)
	return w
}

func (w *wall) now() time.Time       { return *w.Load() }
func (w *wall) add(by time.Duration) { w.set(w.now().Add(by)) }
func (w *wall) set(t time.Time)      { w.Store(&t) }

func TestRecordedTimeNeverGoesBack(t *testing.T) {
	clock := wallAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	dir := t.TempDir()
	opts := pebblestore.Options{Now: clock.now}
	s := open(t, dir, opts)
	appendOne(t, s, stream(1))
	clock.add(-time.Hour)
	appendOne(t, s, stream(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, opts)
	appendOne(t, s, heartbeats(1))
	var last time.Time
	n := 0
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil || e.RecordedAt.Before(last) {
			t.Fatalf("recorded at %s after %s (%v)", e.RecordedAt, last, err)
		}
		last = e.RecordedAt
		n++
	}
	if n != 3 {
		t.Fatalf("%d events, want 3", n)
	}
}

func TestATimeFindsItsPosition(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := wallAt(start)
	s := open(t, t.TempDir(), pebblestore.Options{Now: clock.now})
	at := map[time.Duration]eventstore.Position{}
	for i := range 40 {
		after := time.Duration(i) * 300 * time.Millisecond
		clock.set(start.Add(after))
		at[after] = appendOne(t, s, []eventstore.StreamName{stream(i), heartbeats(i)}[i%2])
	}
	for after, want := range at {
		for _, extra := range []time.Duration{0, time.Millisecond, 299 * time.Millisecond} {
			if got, err := s.PositionAt(ctx, start.Add(after+extra)); got != want || err != nil {
				t.Errorf("at %s the position is %d, %v, want %d", after+extra, got, err, want)
			}
		}
	}
	for _, before := range []time.Time{start.Add(-1), {}, time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := s.PositionAt(ctx, before); got != 0 || err != nil {
			t.Errorf("before the first event the position is %d, %v", got, err)
		}
	}
}

func TestTrimmedHeartbeatsAreGoneAndNothingElseIs(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := wallAt(start)
	dir := t.TempDir()
	opts := pebblestore.Options{Now: clock.now}
	s := open(t, dir, opts)
	for i := range 100 {
		clock.set(start.Add(time.Duration(i) * time.Second))
		appendOne(t, s, heartbeats(i%3))
		appendOne(t, s, stream(i%3))
	}
	if _, err := s.TrimHeartbeats(start.Add(50 * time.Second)); err != nil {
		t.Fatal(err)
	}
	check := func(s *pebblestore.Store, lifecycleWant, heartbeatWant int) {
		t.Helper()
		lifecycle, beats := 0, 0
		for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !e.Stream.IsHeartbeat() {
				lifecycle++
			} else if beats++; e.RecordedAt.Before(start.Add(50 * time.Second)) {
				t.Errorf("a heartbeat of %s is left", e.RecordedAt)
			}
		}
		inStreams := 0
		for i := range 3 {
			for _, err := range s.ReadStream(ctx, heartbeats(i), eventstore.ReadOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				inStreams++
			}
		}
		if lifecycle != lifecycleWant || beats != heartbeatWant || inStreams != heartbeatWant {
			t.Errorf("%d lifecycle events, %d heartbeats, %d in their streams; want %d and %d", lifecycle, beats, inStreams, lifecycleWant, heartbeatWant)
		}
	}
	check(s, 100, 50)
	clock.add(time.Hour)
	head := appendOne(t, s, heartbeats(0))
	if _, err := s.TrimHeartbeats(clock.now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, opts)
	results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: heartbeats(0), Expected: eventstore.Exactly(34), Events: []eventstore.EventData{beat}})
	if err != nil || results[0].Err != nil || results[0].Position <= head {
		t.Errorf("the trimmed stream goes on with %+v, %v", results, err)
	}
}

// Whether few streams are found by the index or by looking through the log is the same to a reader.
func TestFewStreamsAmongManyAreFoundByTheirIndex(t *testing.T) {
	s := open(t, t.TempDir(), pebblestore.InParts(pebblestore.Options{}, 3000)) // the engine lacks some of the index
	requests := make([]eventstore.AppendRequest, 20_000)
	for i := range requests {
		requests[i] = eventstore.AppendRequest{Stream: stream(i), Events: []eventstore.EventData{{Type: domain.TypeTrafficChanged, Data: []byte(`{}`)}}}
		if i%5000 == 7 {
			requests[i].Stream = eventstore.WebhookStream("w")
		}
	}
	if _, err := s.Append(ctx, nil, requests...); err != nil {
		t.Fatal(err)
	}
	prefixes := []string{eventstore.WebhookPrefix, string(stream(12345)), string(stream(123)), string(stream(1234))}
	for _, opts := range []eventstore.ReadAllOptions{{}, {Backwards: true}, {After: 400, To: 19_000}, {Limit: 3}, {Limit: 3, Backwards: true}} {
		var want, got []eventstore.Position
		for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{After: opts.After, To: opts.To, Backwards: opts.Backwards}) {
			if err != nil {
				t.Fatal(err)
			}
			if (eventstore.Filter{StreamPrefixes: prefixes}).Match(e.Stream, e.Type) && (opts.Limit == 0 || len(want) < opts.Limit) {
				want = append(want, e.Position)
			}
		}
		opts.Filter.StreamPrefixes = prefixes
		for e, err := range s.ReadAll(ctx, opts) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Position)
		}
		if len(want) < 3 || !slices.Equal(got, want) {
			t.Errorf("%+v: found %v, want %v", opts, got, want)
		}
	}
}
