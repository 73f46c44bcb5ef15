package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A reader that is behind reads the names of many streams together, and streams come to be meanwhile.
func TestAReaderThatIsBehindNamesEveryStream(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "data", pebblestore.Options{FS: fs})
	names := make(map[eventstore.Position]eventstore.StreamName)
	add := func(from, to int) {
		t.Helper()
		var requests []eventstore.AppendRequest
		for i := from; i < to; i++ {
			requests = append(requests, eventstore.AppendRequest{Stream: heartbeats(i * 7919 % 6000), Events: []eventstore.EventData{beat}})
		}
		results, err := s.Append(ctx, nil, requests...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			names[r.Position] = requests[i].Stream
		}
	}
	const streams = 600 // more than two pages, of which the last is not full
	add(0, streams)
	add(0, streams)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "data", pebblestore.Options{FS: fs})
	sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for seen := 0; seen < len(names); {
		events, _, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			add(streams, streams+1100) // too many to be the rest of one read
		}
		for _, e := range events {
			if want := names[e.Position]; e.Stream != want {
				t.Fatalf("position %d is of %s, and not of %s", e.Position, e.Stream, want)
			}
		}
		seen += len(events)
	}
}

func TestAReaderKeepsTheNamesOfAMillionStreamsAtMost(t *testing.T) {
	if most := pebblestore.NamesKept(t, 1000, 1<<20); most > 65<<20 {
		t.Errorf("a reader keeps %d bytes of names", most)
	}
	if kept := pebblestore.NamesKept(t, 4000, 256*45); kept < 4000*256*45 {
		t.Errorf("a reader keeps only %d bytes of the names of a million streams", kept)
	}
}
