package esdbstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

var ctx = context.Background()

func serve(t testing.TB) *esdbtest.Server {
	t.Helper()
	s, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func open(t testing.TB, connection string, opts esdbstore.Options) *esdbstore.Store {
	t.Helper()
	s, err := esdbstore.Open(connection, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.Ready(ready); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture { return fixture(t, serve(t).ConnectionString()) })
}

// The suite passes on a database that others have written to, the one that ROLLCALL_TEST_ESDB names or a test
// server. Its tests follow each other on the same database.
func TestConformanceOnADatabaseWithOtherEvents(t *testing.T) {
	connection := os.Getenv("ROLLCALL_TEST_ESDB")
	if connection == "" {
		server := serve(t)
		for i := range 100 {
			server.Put(fmt.Sprint("billing-", i%7), "Paid", []byte(`{"amount":1}`), []byte(`{}`))
			server.Put(string(stream(fmt.Sprint(i%5))), domain.TypeHealthChanged, []byte(`{"epoch":1}`), []byte(`{}`))
			server.Put("registry", domain.TypeSelfPreservationEnded, []byte(`{}`), nil)
		}
		connection = server.ConnectionString()
	}
	eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture {
		f := fixture(t, connection)
		f.Shared = true
		return f
	})
}

func fixture(t *testing.T, connection string) *eventstoretest.Fixture {
	f := &eventstoretest.Fixture{Store: open(t, connection, esdbstore.Options{})}
	f.Reopen = func() eventstore.Store {
		if err := f.Store.Close(); err != nil {
			t.Fatal(err)
		}
		f.Store = open(t, connection, esdbstore.Options{})
		return f.Store
	}
	return f
}

func stream(id string) eventstore.StreamName {
	return eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: id})
}

func event() eventstore.EventData {
	return eventstore.EventData{ID: uuid.New(), Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":1}`)}
}

// Whatever befalls an append on its way, it stands once and is answered as such.
func TestAppendsSurviveFaults(t *testing.T) {
	for name, fault := range map[string]esdbtest.Fault{
		"dropped before the commit": esdbtest.DropBefore, "dropped after it": esdbtest.DropAfter, "not the leader": esdbtest.NotLeader,
		"a slow node": esdbtest.SlowNode, "past the deadline": esdbtest.PastDue, "no answer": esdbtest.Lost,
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			var n atomic.Int64
			server.FailWith(func(string) esdbtest.Fault {
				if n.Add(1)%2 == 1 {
					return fault
				}
				return esdbtest.None
			})
			s := open(t, server.ConnectionString(), esdbstore.Options{Timings: esdbstore.Timings{Attempt: 400 * time.Millisecond}})
			expected := eventstore.NoStream()
			for i := range 3 {
				results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("a"), Expected: expected, Events: []eventstore.EventData{event()}})
				if err != nil || results[0].Err != nil || results[0].Revision != eventstore.Revision(i) || results[0].Position == 0 {
					t.Fatalf("append %d gave %+v, %v", i, results, err)
				}
				expected = eventstore.Exactly(results[0].Revision)
			}
			count := 0
			for _, err := range s.ReadStream(ctx, stream("a"), eventstore.ReadOptions{}) {
				if count++; err != nil {
					t.Fatal(err)
				}
			}
			if count != 3 {
				t.Errorf("%d events stand, want 3", count)
			}
		})
	}
}

func TestADeniedAppendIsSaidToBe(t *testing.T) {
	server := serve(t)
	server.FailWith(func(string) esdbtest.Fault { return esdbtest.AccessDenied })
	s := open(t, server.ConnectionString(), esdbstore.Options{})
	if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}}); !errors.Is(err, eventstore.ErrAccessDenied) {
		t.Errorf("gave %v", err)
	}
}

// A subscription goes on from the last event when the node is lost and comes back.
func TestASubscriptionSurvivesALostNode(t *testing.T) {
	server := serve(t)
	s := open(t, server.ConnectionString(), esdbstore.Options{Timings: esdbstore.Timings{LeaderWait: 200 * time.Millisecond}})
	put := func() {
		server.Put(string(stream("a")), domain.TypeHealthChanged, []byte(`{"epoch":1}`), []byte(`{}`))
	}
	for range 10 {
		put()
	}
	sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	next := eventstore.Revision(0)
	take := func(until eventstore.Revision) {
		t.Helper()
		for next < until {
			timeout, cancel := context.WithTimeout(ctx, 20*time.Second)
			events, _, err := sub.Next(timeout)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Revision != next {
					t.Fatalf("revision %d came, want %d", e.Revision, next)
				}
				next++
			}
		}
	}
	take(10)
	for range 2 {
		server.Stop()
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("b"), Events: []eventstore.EventData{event()}}); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("without a node an append gave %v", err)
		}
		put() // the other nodes go on
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		put()
		take(next + 2)
	}
	ready, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for s.Err() != nil {
		if ready.Err() != nil {
			t.Fatal(s.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("b"), Events: []eventstore.EventData{event()}}); err != nil {
		t.Errorf("with the node back an append gave %v", err)
	}
}

func TestAClusterIsDiscovered(t *testing.T) {
	server := serve(t)
	s := open(t, "esdb+discover://"+server.Address()+"?tls=false", esdbstore.Options{})
	if head, err := s.Head(ctx); err != nil || head != 0 {
		t.Errorf("head is %d, %v", head, err)
	}
}

func TestHeartbeatStreamsGetTheirMaxAgeOnce(t *testing.T) {
	server := serve(t)
	s := open(t, server.ConnectionString(), esdbstore.Options{Retention: time.Hour})
	beats := eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "web", ID: "a"})
	for range 20 {
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: beats, Events: []eventstore.EventData{event()}}); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for server.Metadata(string(beats)) == nil {
		if time.Now().After(deadline) {
			t.Fatal("no $maxAge was set")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := server.Metadata(string(beats)); len(got) != 1 || got[0] != `{"$maxAge":3600}` {
		t.Errorf("the stream's metadata is %s", got)
	}
}

func TestBothSchemesAreTaken(t *testing.T) {
	address := serve(t).Address()
	for _, scheme := range []string{"esdb", "kurrentdb", "esdb+discover", "kurrentdb+discover"} {
		open(t, scheme+"://"+address+"?tls=false", esdbstore.Options{})
	}
}

func TestBadConnectionStringsAreRefused(t *testing.T) {
	for _, c := range []string{"", "http://x", "esdb://", "esdb://host:port", "esdb://host?tls=maybe", "kurrentdb://", "esdbx://host"} {
		if s, err := esdbstore.Open(c, esdbstore.Options{}); err == nil {
			t.Errorf("%q passes", c)
			_ = s.Close()
		}
	}
}

func TestTheIdentityIsSharedAndNewerSchemasAreRefused(t *testing.T) {
	server := serve(t)
	a, b := open(t, server.ConnectionString(), esdbstore.Options{}), open(t, server.ConnectionString(), esdbstore.Options{})
	first, err := a.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.ID(ctx); err != nil || again != first {
		t.Errorf("%s and %s, %v", first, again, err)
	}
	server.Put("rollcall-store", "StoreIdentified", fmt.Appendf(nil, `{"id":"%s","schema":99}`, first), []byte(`{}`))
	if _, err := a.ID(ctx); err == nil || !strings.Contains(err.Error(), "schema 99") {
		t.Errorf("a newer schema: %v", err)
	}
}

// A client that speaks TLS to a server that does not says what is wrong, and goes on trying.
func TestAWrongTLSSettingIsSaid(t *testing.T) {
	s, err := esdbstore.Open("esdb://"+serve(t).Address()+"?tls=true", esdbstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.Ready(wait); !errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), "tls") {
		t.Errorf("gave %v", err)
	}
}
