package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// The engine takes its memtables from its cache. Once they have their full size, blocks that were read still stay in the cache.
func TestTheCacheKeepsBlocksBesideFullMemtables(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.Close()
	const entries = 50
	for n := range entries {
		at := began.Add(time.Duration(n) * time.Minute) // what is young is written after some seconds
		e := eventstore.RecordedEvent{Position: eventstore.Position(n + 1), RecordedAt: at, Stream: eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", n)})}
		e.EventData = eventstore.EventData{Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client"}`), Metadata: []byte(`{"schema":1}`)}
		if err := h.Apply([]eventstore.RecordedEvent{e}, e.Position); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.FillMemtables(); err != nil {
		t.Fatal(err)
	}
	page, err := h.Find(ctx, history.Query{})
	if err != nil || len(page.Entries) != entries {
		t.Fatalf("%d entries, %v", len(page.Entries), err)
	}
	if h.CachedBytes() == 0 {
		t.Error("the cache keeps no block")
	}
}
