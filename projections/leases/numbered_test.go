package leases

import (
	"math"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// entryOf is the entry of an instance in a catalog of its own. It has no number of a heartbeat stream.
func entryOf(t *testing.T, key domain.Key) *catalog.Entry {
	event := domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(time.Minute)}}
	data, err := domain.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	_, entry, err := catalog.New().Apply(&eventstore.RecordedEvent{
		EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)}, Stream: eventstore.LifecycleStream(key),
	})
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// A lease that has ended is found by no number, although the number is in an entry, and the instance got another entry.
func TestALeaseThatEndedIsFoundByNoNumber(t *testing.T) {
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	began := time.Now()
	table := NewTable(began, 0)
	table.Start(entryOf(t, key), began, began)
	beat := &eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key), StreamNumber: 5}
	table.Heard(beat, began)
	now := entryOf(t, key)
	table.Replaced(now)
	if l := table.numbered.At(5); l == nil || l.of != now || now.HeartbeatStream() != 5 {
		t.Fatalf("the lease is %+v, the number %d", l, now.HeartbeatStream())
	}
	table.End(key, false)
	if l := table.numbered.At(5); l != nil {
		t.Errorf("the number is still that of %+v", l)
	}
	table.Heard(beat, began) // no lease, nothing to renew
	if _, ok := table.Find(key); ok {
		t.Error("the instance has a lease again")
	}
}

// A number of heartbeats that does not fit into a lease is not known, and so is looked up by whoever needs it.
func TestANumberOfHeartbeatsIsRightOrNotKnown(t *testing.T) {
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	began := time.Now()
	table := NewTable(began, 0)
	table.Start(entryOf(t, key), began, began)
	for revision, want := range map[eventstore.Revision]uint64{0: 1, 9: 10, math.MaxUint32 - 1: math.MaxUint32, math.MaxUint32: 0, 1 << 40: 0} {
		table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key), Revision: revision}, began)
		if l, _ := table.Find(key); l.HeartbeatEvents != want {
			t.Errorf("after the heartbeat of revision %d there are %d, want %d", revision, l.HeartbeatEvents, want)
		}
	}
}
