package pebblestore

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func instance(i int) domain.Key {
	return domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i)}
}

// register appends the first event of instances, and then heartbeats of all of them. It gives their heartbeats' results.
func register(t *testing.T, s *Store, instances int) []eventstore.AppendResult {
	t.Helper()
	events := []eventstore.EventData{{Type: "x", Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}}
	lives, beats := make([]eventstore.AppendRequest, instances), make([]eventstore.AppendRequest, instances)
	for i := range instances {
		lives[i] = eventstore.AppendRequest{Stream: eventstore.LifecycleStream(instance(i)), Events: events}
		beats[i] = eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(instance(i)), Events: events}
	}
	appendAll(t, s, lives...)
	return appendAll(t, s, beats...)
}

func appendAll(t *testing.T, s *Store, requests ...eventstore.AppendRequest) []eventstore.AppendResult {
	t.Helper()
	results, err := s.Append(t.Context(), nil, requests...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		if results[i].Err != nil {
			t.Fatal(i, results[i].Err)
		}
	}
	return results
}

func inMemory(t *testing.T) *Store {
	t.Helper()
	s, err := Open("data", Options{FS: vfs.NewMem(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// again are heartbeats of instances whose earlier ones gave the results, as commands send them.
func again(given []eventstore.AppendResult, seen eventstore.Position) []eventstore.AppendRequest {
	requests := make([]eventstore.AppendRequest, len(given))
	for i := range given {
		requests[i] = eventstore.AppendRequest{
			StreamNumber: given[i].StreamNumber, Instance: instance(i), Other: eventstore.Exactly(0), Seen: seen,
			Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}},
		}
	}
	return requests
}

// The instances of a fleet that heartbeat seldom take a few bytes each between two heartbeats, and no read of the disk, which this
// test takes away.
func TestAnInstanceThatHeartbeatsSeldomNeedsNoReadOfTheDisk(t *testing.T) {
	s := inMemory(t)
	const instances = 100
	given := register(t, s, instances)
	if err := s.ForgetIdle(); err != nil {
		t.Fatal(err)
	}
	if heads := s.Heads(); heads != 0 {
		t.Fatalf("%d heads are kept", heads)
	}
	for i := range given { // a read would find nothing, and begin the stream anew
		for _, key := range [][]byte{number32(rangeHead, given[i].StreamNumber), number32(rangeName, given[i].StreamNumber), numberKey(eventstore.HeartbeatStream(instance(i)))} {
			if err := s.db.Delete(key, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for round := range 3 {
		for i, r := range appendAll(t, s, again(given, given[instances-1].Position)...) {
			if r.Revision != eventstore.Revision(round+1) || r.StreamNumber != given[i].StreamNumber {
				t.Fatalf("instance %d goes on with %+v", i, r)
			}
		}
		if heads := s.Heads(); heads != instances {
			t.Fatalf("%d heads are kept of %d streams: those of the lifecycle streams are not needed", heads, instances)
		}
		if err := s.ForgetIdle(); err != nil {
			t.Fatal(err)
		}
	}
}

// What the caller has seen spares the look at the lifecycle stream only as long as that has not changed since.
func TestAHeartbeatAfterAChangeThatItsCallerHasNotSeenIsRefused(t *testing.T) {
	s := inMemory(t)
	given := register(t, s, 2)
	seen := given[1].Position
	changed := eventstore.AppendRequest{Stream: eventstore.LifecycleStream(instance(1)), Events: []eventstore.EventData{{Type: "x", Data: []byte(`{}`)}}}
	for _, forgotten := range []bool{false, true} {
		at := appendAll(t, s, changed)[0]
		if forgotten {
			if err := s.ForgetIdle(); err != nil {
				t.Fatal(err)
			}
		}
		results, err := s.Append(t.Context(), nil, again(given, seen)...)
		if err != nil || results[0].Err != nil || results[1].Err == nil {
			t.Fatalf("the heartbeats gave %+v, %v: the second instance alone has changed", results, err)
		}
		now := again(given, at.Position)[1]
		now.Other = eventstore.Exactly(at.Revision)
		appendAll(t, s, now)
	}
}

// A store that was opened again knows nothing of changes before, and looks at the stream.
func TestWhatWasSeenBeforeTheStoreWasOpenedSparesNoLook(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("data", Options{FS: fs, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	given := register(t, s, 1)
	appendAll(t, s, eventstore.AppendRequest{Stream: eventstore.LifecycleStream(instance(0)), Events: []eventstore.EventData{{Type: "x", Data: []byte(`{}`)}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open("data", Options{FS: fs, MinFree: 1}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if results, err := s.Append(t.Context(), nil, again(given, given[0].Position)...); err != nil || results[0].Err == nil {
		t.Errorf("a heartbeat that was decided before the last change gave %+v, %v", results, err)
	}
}

func TestQuietHeadsAreForgottenAfterAWhile(t *testing.T) {
	if size := unsafe.Sizeof(quietPage{}); size > 512 {
		t.Errorf("a page takes %d bytes", size)
	}
	s := inMemory(t)
	given := register(t, s, 10*quietPerPage)
	cycles := func(n int) {
		t.Helper()
		if err := s.look(n * len(s.heads.shards)); err != nil {
			t.Fatal(err)
		}
	}
	cycles(idleCycles + 2)
	pages := func() int {
		s.numbers.RLock()
		defer s.numbers.RUnlock()
		return s.numbers.quiet.count
	}
	if n := pages(); n < 10 || n > 11 {
		t.Fatalf("%d pages are kept of %d heads", n, len(given))
	}
	cycles(keepQuiet / 2)
	appendAll(t, s, again(given, given[len(given)-1].Position)[0])
	cycles(keepQuiet/2 + 2)
	if n := pages(); n != 1 {
		t.Errorf("%d pages are kept though one instance heartbeats", n)
	}
	for i, r := range appendAll(t, s, again(given, given[len(given)-1].Position)...) {
		if want := eventstore.Revision(1); r.Revision != want && i > 0 || i == 0 && r.Revision != 2 {
			t.Fatalf("instance %d goes on with revision %d", i, r.Revision)
		}
	}
}

// With too many pages none is kept that need not be.
func TestTheMemoryOfQuietHeadsIsBounded(t *testing.T) {
	var q quiet
	for page := range uint32(4) {
		h := &head{number: page*quietPerPage + 1, last: 9, events: 3, queued: page == 2}
		q.put(h, 7)
	}
	q.count += maxQuietPages
	q.thin(0, 1, 4*quietPerPage, 8)
	if q.count != maxQuietPages+1 {
		t.Errorf("%d pages are kept beyond the bound, of which one must be", q.count-maxQuietPages)
	}
	h := &head{number: 2*quietPerPage + 1}
	if !q.take(h) || h.events != 3 || h.last != 9 || !h.queued {
		t.Errorf("the head that is to be written is %+v", h)
	}
}

// A stream with more events than a quiet head can say is kept on disk.
func TestAStreamOfVeryManyEventsHasNoQuietHead(t *testing.T) {
	for i, h := range []*head{{number: 1, last: 1, events: math.MaxUint32 + 1}, {number: 1, last: math.MaxUint64, events: 1}, {last: 1, events: 1}, {number: 1}} {
		if h.mayBeQuiet() {
			t.Errorf("head %d may be quiet", i)
		}
	}
}
