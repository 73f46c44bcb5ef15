package catalog_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// began and ended are events of an instance.
func began(at int, key domain.Key) eventstore.RecordedEvent {
	return recorded(at, key, domain.TypeInstanceRegistered, `{"epoch":1,"address":"10.0.0.1","ttl":"30s","weight":100,"status":"passing"}`)
}

func ended(at int, key domain.Key) eventstore.RecordedEvent {
	return recorded(at, key, domain.TypeInstanceDeregistered, `{}`)
}

func recorded(at int, key domain.Key, kind, data string) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{
		EventData: eventstore.EventData{Type: kind, Data: []byte(data), Metadata: []byte(`{"schema":2}`)}, Stream: eventstore.LifecycleStream(key), Position: eventstore.Position(at),
	}
}

func TestAnInstanceIsFoundByItsIDInEveryService(t *testing.T) {
	c := catalog.New()
	at := 0
	do := func(event func(int, domain.Key) eventstore.RecordedEvent, service, id string) {
		t.Helper()
		at++
		e := event(at, domain.Key{Namespace: "default", Service: service, ID: id})
		if _, _, err := c.Apply(&e); err != nil {
			t.Fatal(err)
		}
	}
	finds := func(id string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range c.ByID(id) {
			got = append(got, e.Key().String())
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	do(began, "web", "a")
	finds("a", "default/web/a")
	finds("b")
	do(began, "api", "a")
	do(began, "api", "b")
	finds("a", "default/api/a", "default/web/a")
	finds("b", "default/api/b")
	do(ended, "web", "a")
	finds("a", "default/api/a")
	do(began, "web", "a")
	finds("a", "default/api/a", "default/web/a")
	for n := range 10_100 { // more than are kept of what has ended
		do(began, "web", fmt.Sprint("short-", n))
		do(ended, "web", fmt.Sprint("short-", n))
	}
	finds("short-7")
	finds("a", "default/api/a", "default/web/a")
}

func TestInstancesThatBeginWhileIDsAreCollectedAreFound(t *testing.T) {
	for range 5 {
		c := catalog.New()
		var asking sync.WaitGroup
		for at := range 400 {
			id := fmt.Sprint("i", at)
			e := began(at+1, domain.Key{Namespace: "default", Service: fmt.Sprint("s", at%7), ID: id})
			if _, _, err := c.Apply(&e); err != nil {
				t.Fatal(err)
			}
			if at >= 200 && at%50 == 0 {
				asking.Go(func() {
					if len(c.ByID(id)) != 1 {
						t.Errorf("%s is not found", id)
					}
				})
			}
		}
		asking.Wait()
		for at := range 400 {
			if len(c.ByID(fmt.Sprint("i", at))) != 1 {
				t.Fatalf("i%d is not found", at)
			}
		}
	}
}

func TestAnInstanceHasTheChecksOfItsIDsOnly(t *testing.T) {
	c := catalog.New()
	for at, checks := range []string{`[{"id":"disk-1","kind":"ttl","ttl":"30s"},{"id":"b","kind":"tcp","target":"10.0.0.1:1","interval":"10s"}]`, `[]`} {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", at)}
		e := recorded(at+1, key, domain.TypeInstanceRegistered, `{"epoch":1,"address":"10.0.0.1","ttl":"30s","weight":100,"status":"passing","checks":`+checks+`}`)
		if _, _, err := c.Apply(&e); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]bool{"disk-1": true, "b": true, "disk": false, "disk-1b": false, "": false, "k": false} {
			if got := c.Find(key).HasCheck(id); got != (want && at == 0) {
				t.Errorf("%s has the check %q: %v", key, id, got)
			}
		}
	}
	if (*catalog.Entry)(nil).HasCheck("b") {
		t.Error("no instance has a check")
	}
}
