package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// Events that share their metadata, their time, both or none come back as they were.
func TestEventsOfAValueComeBack(t *testing.T) {
	var list records
	var events []eventstore.RecordedEvent
	for i := range 40 {
		e := eventstore.RecordedEvent{
			EventData: eventstore.EventData{ID: uuid.UUID{byte(i)}, Type: domain.TypeInstanceRegistered, Data: make([]byte, i), Metadata: []byte{byte(i / 3)}},
			Stream:    eventstore.StreamName(make([]byte, i%5)), Revision: eventstore.Revision(i * i), Position: eventstore.Position(7 + 300*i),
			RecordedAt: time.Unix(0, int64(i/4*(20-i))).UTC(),
		}
		if i%7 == 0 {
			e.Type, e.Metadata = "SomethingNew", []byte{}
		}
		list.add(&e)
		events = append(events, e)
	}
	if got, err := eventsOf(7, list.value); err != nil || fmt.Sprint(got) != fmt.Sprint(events) {
		t.Errorf("%+v came back as %+v, %v", events, got, err)
	}
	for n := range list.value {
		if got, err := eventsOf(7, list.value[:n]); err == nil && len(got) == len(events) {
			t.Errorf("all events are in the first %d of %d bytes", n, len(list.value))
		}
	}
}

// A batch becomes several values. Wherever a read begins or ends, it has the same events as a read of all.
func TestAReadMayBeginWithinAValue(t *testing.T) {
	s := openHere(t, t.TempDir())
	appendBatch(t, s, 100, 0)
	appendBatch(t, s, 1, 1)
	appendBatch(t, s, 40, 2)
	readsAgree(t, s)
}

// A store of format 2 has each lifecycle event under a key of its own. It is read, and gets values of many events behind those.
func TestAStoreWithAValueForEachEventGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := openHere(t, dir)
	appendBatch(t, s, 100, 0)
	want := all(t, s, eventstore.ReadAllOptions{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	makeFormat2(t, dir)
	s = openHere(t, dir)
	if got := all(t, s, eventstore.ReadAllOptions{}); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	appendBatch(t, s, 100, 1)
	readsAgree(t, s)
}

// A replica writes what the version before reads, until it is told that its node goes back to none.
func TestAReplicaTakesTheNewestFormatWhenItIsTold(t *testing.T) {
	fs := vfs.NewMem()
	options := Options{FS: fs, Replica: true, Logger: slog.New(slog.DiscardHandler)}
	s, err := Open("data", options)
	if err != nil {
		t.Fatal(err)
	}
	values := func() (lifecycle, heartbeats []byte) { // the first byte of each value
		for _, prefix := range []byte{rangeLifecycle, rangeHeartbeats} {
			it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix, '/'}, UpperBound: after(prefix)})
			if err != nil {
				t.Fatal(err)
			}
			for ok := it.First(); ok; ok = it.Next() {
				if prefix == rangeLifecycle {
					lifecycle = append(lifecycle, it.Value()[0])
				} else {
					heartbeats = append(heartbeats, it.Value()[0])
				}
			}
			if err := it.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return lifecycle, heartbeats
	}
	apply := func(revision int) {
		t.Helper()
		b := Block{At: int64(revision + 1), Requests: requests(3, revision), Mark: []byte{byte(revision)}}
		if _, err := s.Apply(nil, &b); err != nil {
			t.Fatal(err)
		}
	}
	apply(0)
	if l, h := values(); s.HasNewestFormat() || !slices.Equal(l, []byte{aloneVersion, aloneVersion, aloneVersion}) || !slices.Equal(h, []byte{blockOfRows}) {
		t.Errorf("newest format: %v; values of lifecycle events %v, of heartbeats %v", s.HasNewestFormat(), l, h)
	}
	for e, err := range s.ReadAll(context.Background(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := s.get(lifecycleKey(e.Position)); !e.Stream.IsHeartbeat() && string(v) != string(appendAlone(nil, &e)) {
			t.Errorf("%s is stored as %q, and the version before reads %q", line(e), v, appendAlone(nil, &e))
		}
	}
	if err := errors.Join(s.TakeNewestFormat(), s.TakeNewestFormat()); err != nil {
		t.Fatal(err)
	}
	apply(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open("data", options); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	apply(2)
	l, h := values()
	if want := []byte{aloneVersion, aloneVersion, aloneVersion, recordsVersion, recordsVersion}; !s.HasNewestFormat() || !slices.Equal(l, want) {
		t.Errorf("newest format: %v; values of lifecycle events %v, want %v", s.HasNewestFormat(), l, want)
	}
	if want := []byte{blockOfRows, blockOfColumns, blockOfColumns}; !slices.Equal(h, want) {
		t.Errorf("values of heartbeats %v, want %v", h, want)
	}
	readsAgree(t, s)
}

// makeFormat2 gives each event of a store a value of its own.
func makeFormat2(t *testing.T, dir string) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: EngineLog{slog.New(slog.DiscardHandler), ""}})
	if err != nil {
		t.Fatal(err)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("e/"), UpperBound: after(rangeLifecycle)})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		events, err := eventsOf(eventstore.Position(tail(it.Key())), it.Value())
		if err != nil || len(events) < 2 && events[0].Revision == 0 {
			t.Fatalf("a value has %d events, %v", len(events), err)
		}
		for _, e := range events {
			position := binary.BigEndian.AppendUint64(nil, uint64(e.Position))
			err := errors.Join(db.Set(lifecycleKey(e.Position), appendAlone(nil, &e), nil), db.Set(streamKey(e.Stream, e.Revision), position, nil))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(it.Close(), db.Set(keyFormat, []byte{2}, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func openHere(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// requests append an event to each of n streams, and a heartbeat behind each third one.
func requests(n, revision int) (requests []eventstore.AppendRequest) {
	for i := range n {
		key := domain.Key{Namespace: "default", Service: fmt.Sprint("s", i%3), ID: fmt.Sprint("i", i)}
		data := fmt.Appendf(nil, `{"epoch":%d,"text":"%0300d"}`, revision+1, i)
		requests = append(requests, eventstore.AppendRequest{
			Stream: eventstore.StreamName(eventstore.AppendLifecycleStream(nil, key)),
			Events: []eventstore.EventData{{Type: domain.TypeInstanceUpdated, Data: data, Metadata: fmt.Appendf(nil, `{"part":%d}`, i/40)}},
		})
		if i%3 == 2 {
			other, _ := requests[len(requests)-1].Stream.Other()
			requests = append(requests, eventstore.AppendRequest{Stream: other, Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)}}})
		}
	}
	return requests
}

func appendBatch(t *testing.T, s *Store, n, revision int) {
	t.Helper()
	results, err := s.Append(context.Background(), nil, requests(n, revision)...)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// all has a line for each event that a read gives.
func all(t *testing.T, s *Store, opts eventstore.ReadAllOptions) (lines []string) {
	t.Helper()
	for e, err := range s.ReadAll(context.Background(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(e))
	}
	return lines
}

func line(e eventstore.RecordedEvent) string {
	return fmt.Sprint(e.Position, e.Stream, e.Revision, e.ID, e.Type, string(e.Data), string(e.Metadata), e.RecordedAt.UnixNano(), e.Timeline)
}

// readsAgree reads from each position, to each position, backwards, and by stream.
func readsAgree(t *testing.T, s *Store) {
	t.Helper()
	want := all(t, s, eventstore.ReadAllOptions{})
	backwards := slices.Clone(want)
	slices.Reverse(backwards)
	lifecycle := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	for i := range len(want) + 1 {
		p := eventstore.Position(i)
		if got := all(t, s, eventstore.ReadAllOptions{After: p}); !slices.Equal(got, want[i:]) {
			t.Fatalf("after %d there are %d events, want %d", i, len(got), len(want)-i)
		}
		if got := all(t, s, eventstore.ReadAllOptions{To: p}); i > 0 && !slices.Equal(got, want[:i]) {
			t.Fatalf("up to %d there are %d events", i, len(got))
		}
		if got := all(t, s, eventstore.ReadAllOptions{After: p + 1, Backwards: true}); !slices.Equal(got, backwards[len(want)-i:]) {
			t.Fatalf("before %d there are %d events", i+1, len(got))
		}
		if got := all(t, s, eventstore.ReadAllOptions{To: p, Backwards: true}); i > 0 && !slices.Equal(got, backwards[:len(want)-i+1]) {
			t.Fatalf("down to %d there are %d events", i, len(got))
		}
		if got := all(t, s, eventstore.ReadAllOptions{After: p, Limit: 1, Filter: lifecycle}); len(got) > 0 && !slices.Contains(want[i:min(len(want), i+2)], got[0]) {
			t.Fatalf("the first lifecycle event after %d is %s", i, got[0])
		}
	}
	for e, err := range s.ReadAll(context.Background(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream.IsHeartbeat() {
			continue
		}
		found := false
		for in, err := range s.ReadStream(context.Background(), e.Stream, eventstore.ReadOptions{From: e.Revision, Limit: 1}) {
			if found = err == nil && line(in) == line(e); !found {
				t.Fatalf("%s has %s at %d, %v; the log has %s", e.Stream, line(in), e.Revision, err, line(e))
			}
		}
		if !found {
			t.Fatalf("%s has no event %d", e.Stream, e.Revision)
		}
	}
}

func eventsOf(first eventstore.Position, value []byte) (events []eventstore.RecordedEvent, err error) {
	r, err := readRecords(first, value)
	if err != nil {
		return nil, err
	}
	var texts arena
	for r.next() {
		var e eventstore.RecordedEvent
		r.event(&e, &texts)
		events = append(events, e)
	}
	return events, r.err()
}

// appendAlone writes the value of one event as stores up to format 2 have it: version, revision, time, id, stream, type, data, metadata.
func appendAlone(b []byte, e *eventstore.RecordedEvent) []byte {
	b = append(b, aloneVersion)
	b = binary.AppendUvarint(b, uint64(e.Revision))
	b = binary.AppendVarint(b, e.RecordedAt.UnixNano())
	b = append(b, e.ID[:]...)
	b = packed.AppendBytes(b, e.Stream)
	b = appendType(b, e.Type)
	b = packed.AppendBytes(b, e.Data)
	return packed.AppendBytes(b, e.Metadata)
}
