package pebblestore

import (
	"fmt"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// Whatever comes and goes, a table finds what a map would, also where streams have the same hash.
func TestATableOfHeadsFindsWhatAMapWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table sparse.Table[eventstore.StreamName, head, *head]
		want := map[eventstore.StreamName]*head{}
		hashes := rapid.SampledFrom([]uint32{1, 3, 1 << 20}).Draw(t, "hashes")
		streams := make([]eventstore.StreamName, rapid.SampledFrom([]int{5, 20, 300}).Draw(t, "streams"))
		for i := range streams {
			key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(i / 3)}
			streams[i] = []eventstore.StreamName{eventstore.LifecycleStream(key), eventstore.HeartbeatStream(key), eventstore.StreamName(fmt.Sprint("webhook-", i))}[i%3]
		}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			i := rapid.IntRange(0, len(streams)-1).Draw(t, "stream")
			stream, hash := streams[i], uint32(i)%hashes
			h := table.Find(hash, stream)
			if h != want[stream] {
				t.Fatalf("%s is %v, want %v", stream, h, want[stream])
			}
			if h != nil {
				table.Remove(h)
				delete(want, stream)
			} else {
				h = newHead(stream, hash, "")
				table.Add(h)
				want[stream] = h
			}
			if table.Len() != len(want) {
				t.Fatalf("%d heads are %d", len(want), table.Len())
			}
		}
		for i, stream := range streams {
			if h := table.Find(uint32(i)%hashes, stream); h != want[stream] || h != nil && h.stream() != stream {
				t.Fatalf("%s is %v, want %v", stream, h, want[stream])
			}
		}
	})
}

func TestTheHeadsOfAnInstanceShareOneName(t *testing.T) {
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	life, beats := eventstore.LifecycleStream(key), eventstore.HeartbeatStream(key)
	for _, streams := range [][2]eventstore.StreamName{{life, beats}, {beats, life}} {
		first := newHead(streams[0], 0, "")
		second := newHead(streams[1], 0, first.name)
		if unsafe.StringData(first.name) != unsafe.StringData(second.name) {
			t.Errorf("%s has a name of its own beside %s", streams[1], streams[0])
		}
		for i, h := range []*head{first, second} {
			if h.stream() != streams[i] || !h.Is(streams[i]) || h.Is(streams[1-i]) || h.heartbeats != streams[i].IsHeartbeat() {
				t.Errorf("the head of %s is that of %s", streams[i], h.stream())
			}
		}
	}
	if size := unsafe.Sizeof(head{}); size > 64 {
		t.Errorf("a head takes %d bytes, which are more than its size class had", size)
	}
}

// An instance whose heartbeats are tied to its lifecycle stream without a word on what the caller has seen keeps both of its heads,
// though nothing is appended to its lifecycle stream: each heartbeat would load that from disk again.
func TestTheHeadsOfAnInstanceThatHeartbeatsAreKept(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	life, beats := eventstore.LifecycleStream(key), eventstore.HeartbeatStream(key)
	add := func(r eventstore.AppendRequest) {
		t.Helper()
		results, err := s.Append(t.Context(), nil, r)
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
	}
	registered := []eventstore.EventData{{Type: domain.TypeInstanceRegistered, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}}
	beat := []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}}
	add(eventstore.AppendRequest{Stream: life, Events: registered})
	headOf := func(stream eventstore.StreamName) *head {
		shard, hash := s.heads.shard(stream)
		shard.Lock()
		defer shard.Unlock()
		return shard.table.Find(hash, stream)
	}
	known := headOf(life)
	for range 8 * idleCycles { // idleCycles rounds, twice
		add(eventstore.AppendRequest{Stream: beats, Events: beat, Other: eventstore.Exactly(0)})
		if err := s.look(len(s.heads.shards) / 4); err != nil {
			t.Fatal(err)
		}
	}
	if known == nil || headOf(life) != known {
		t.Error("the head of the lifecycle stream was forgotten between two heartbeats")
	}
	if err := s.ForgetIdle(); err != nil {
		t.Fatal(err)
	}
	if headOf(life) != nil || headOf(beats) != nil {
		t.Error("the heads are kept although the instance is silent")
	}
}
