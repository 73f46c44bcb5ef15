package live_test

import (
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func TestNothingIsKeptOfABatchThatTheStoreLends(t *testing.T) {
	memory := eventstoretest.NewMemory()
	store := eventstoretest.Lending{Store: memory}
	r := open(t, store, snapshots(t.TempDir(), uuid.New()))
	results, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.RegistryStream, Events: []eventstore.EventData{
		{Type: domain.TypeSelfPreservationStarted, Data: []byte(`{"expected":20,"renewed":8}`), Metadata: []byte(`{"actor":"ann","schema":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	registered := results[0].Position
	last := register(t, store, 0, 5)
	run(t, r, last)

	standings, events := r.SelfPreservation()
	if s := standings.Of("default"); !s.On || s.Actor != "ann" || s.Since.IsZero() || events != 1 {
		t.Errorf("after %d events self-preservation is %+v", events, s)
	}
	changes, ok := r.Feed().Since(domain.ServiceKey{}, registered)
	if !ok || len(changes) != 5 {
		t.Fatalf("the feed has %d changes, %v", len(changes), ok)
	}
	i := 0
	for want, err := range memory.ReadAll(ctx, eventstore.ReadAllOptions{After: registered}) {
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(changes[i].Event, want) {
			t.Errorf("the feed has %+v, want %+v", changes[i].Event, want)
		}
		if e := r.Catalog().Find(key(i)); e == nil || e.Instance().Details.Address != "10.0.0.5" {
			t.Errorf("the catalog has %+v of %s", e, key(i))
		}
		i++
	}
}
