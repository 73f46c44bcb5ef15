// Package eventstoretest has the promises of every event store adapter as tests. An adapter calls Run from its own tests.
package eventstoretest

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Fixture is one event store under test.
type Fixture struct {
	Store eventstore.Store
	// Shared says that the store may have events of other programs or other tests. Each test then uses streams of its own,
	// and leaves out events from before its beginning. REQUIRES: nobody else writes to the store meanwhile.
	Shared bool
	// Reopen closes the store and opens it again with its events; nil: the store cannot be reopened. The fixture closes the
	// store that is open when the test ends.
	Reopen func() eventstore.Store
}

// Run checks every promise of the port against stores that newFixture makes.
func Run(t *testing.T, newFixture func(t *testing.T) *Fixture) {
	for name, test := range map[string]func(*testing.T, *Fixture){
		"revisions count from 0 without a gap":                 revisionsCount,
		"positions grow over all streams":                      positionsGrow,
		"a precondition that fails writes nothing":             preconditions,
		"a failed request harms no other":                      failedRequestHarmsNoOther,
		"results are appended to the buffer given":             resultsAreAppended,
		"requests of one append see each other":                requestsSeeEachOther,
		"one of many racing appends wins":                      oneOfManyWins,
		"an append may be tied to the instance's other stream": ties,
		"requests of one append see each other's ties":         tiesWithinOneAppend,
		"of a tied end and a tied heartbeat one wins":          tiedRaces,
		"a retry of a tied append is a retry":                  tiedRetries,
		"a repeated event id is a retry":                       retries,
		"a retry within one append is a retry":                 retryWithinOneAppend,
		"an event is read as it was written":                   roundTrip,
		"the store makes ids that differ":                      idsDiffer,
		"a stream is read from any place in both directions":   readStream,
		"all events are read from any place both ways":         readAll,
		"filters pick":                          filters,
		"an unknown stream is empty":            unknownStream,
		"an empty append is refused":            emptyAppend,
		"a stream goes by its number, too":      streamNumbers,
		"a subscription misses nothing":         subscriptionMissesNothing,
		"a subscription repeats nothing":        subscriptionFromTheMiddle,
		"a filtered subscription picks":         filteredSubscription,
		"a slow subscriber slows no append":     slowSubscriber,
		"a subscription ends with its context":  subscriptionCancelled,
		"a subscription ends when it is closed": subscriptionClosed,
		"a read ends with its context":          readCancelled,
		"an append's context may have ended":    appendCancelled,
		"a closed store refuses":                closedStore,
		"what was appended survives a reopen":   survivesReopen,
		"bound requests take effect together":   together,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if f.Shared {
				f = f.shared(t)
			}
			test(t, f)
		})
	}
}

// shared wraps the fixture's store, and the one that it opens again.
func (f *Fixture) shared(t *testing.T) *Fixture {
	store := newShared(t, f.Store)
	wrapped := &Fixture{Store: store}
	if f.Reopen != nil {
		wrapped.Reopen = func() eventstore.Store {
			again := *store
			again.Store = f.Reopen()
			wrapped.Store = &again
			return wrapped.Store
		}
	}
	return wrapped
}

var ctx = context.Background()

func key(id string) domain.Key {
	return domain.Key{Namespace: "default", Service: "checkout", ID: id}
}

func lifecycle(id string) eventstore.StreamName { return eventstore.LifecycleStream(key(id)) }
func heartbeat(id string) eventstore.StreamName { return eventstore.HeartbeatStream(key(id)) }

// events makes n events that a reader can tell apart.
func events(n int, label string) []eventstore.EventData {
	made := make([]eventstore.EventData, n)
	for i := range made {
		made[i] = eventstore.EventData{
			Type: domain.TypeHealthChanged,
			Data: fmt.Appendf(nil, `{"label":%q,"i":%d}`, label, i), Metadata: []byte(`{"schema":1}`),
		}
	}
	return made
}

func beat(epoch int) eventstore.EventData {
	return eventstore.EventData{
		Type: domain.TypeHeartbeatReceived,
		Data: fmt.Appendf(nil, `{"epoch":%d}`, epoch), Metadata: []byte(`{"actor":"anonymous","schema":1}`),
	}
}

func withIDs(es []eventstore.EventData) []eventstore.EventData {
	for i := range es {
		es[i].ID = uuid.Must(uuid.NewV7())
	}
	return es
}

func appendTo(t *testing.T, s eventstore.Store, stream eventstore.StreamName, expected eventstore.ExpectedRevision, es ...eventstore.EventData) eventstore.AppendResult {
	t.Helper()
	results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Expected: expected, Events: es})
	if err != nil {
		t.Fatalf("append to %s: %v", stream, err)
	}
	if results[0].Err != nil {
		t.Fatalf("append to %s: %v", stream, results[0].Err)
	}
	return results[0]
}

func collect(t *testing.T, seq iter.Seq2[eventstore.RecordedEvent, error]) []eventstore.RecordedEvent {
	t.Helper()
	var all []eventstore.RecordedEvent
	for e, err := range seq {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		all = append(all, e)
	}
	return all
}

func revisions(es []eventstore.RecordedEvent) []eventstore.Revision {
	var rs []eventstore.Revision
	for _, e := range es {
		rs = append(rs, e.Revision)
	}
	return rs
}

func positions(es []eventstore.RecordedEvent) []eventstore.Position {
	var ps []eventstore.Position
	for _, e := range es {
		ps = append(ps, e.Position)
	}
	return ps
}

// fill writes a history of lifecycle events and heartbeats of several instances, in several appends.
func fill(t *testing.T, s eventstore.Store, rounds int) {
	t.Helper()
	for round := range rounds {
		var requests []eventstore.AppendRequest
		for _, id := range []string{"a", "b", "c"} {
			requests = append(requests,
				eventstore.AppendRequest{Stream: heartbeat(id), Events: []eventstore.EventData{beat(round), beat(round)}},
				eventstore.AppendRequest{Stream: lifecycle(id), Events: events(1+round%2, id)})
		}
		if _, err := s.Append(ctx, nil, requests...); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
}
