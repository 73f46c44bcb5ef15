package raftstore_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A node gathers calls into blocks. Calls whose requests are bound to each other are carried out as a whole there, and bind no others.
func TestBoundRequestsAreBoundToNoOtherCall(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	at := c.nodes[c.leader()]
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			results, err := at.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(i), Expected: eventstore.NoStream(), Events: events(1, "single")})
			if err != nil || results[0].Err != nil {
				t.Errorf("a call by itself gave %+v, %v", results, err)
			}
		})
		if i%10 > 0 {
			continue
		}
		calls.Go(func() {
			holds := eventstore.AppendRequest{Stream: stream(1000 + i), Expected: eventstore.NoStream(), Events: events(1, "bound"), Together: true}
			not := eventstore.AppendRequest{Stream: stream(2000 + i), Expected: eventstore.Exactly(7), Events: events(1, "bound")}
			results, err := at.Append(ctx, nil, holds, not)
			if err != nil || !errors.Is(results[0].Err, eventstore.ErrNotTogether) || !errors.As(results[1].Err, new(*eventstore.WrongExpectedRevision)) {
				t.Errorf("a bound call gave %+v, %v", results, err)
			}
		})
	}
	calls.Wait()
}
