package commands_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// between is a store in which something happens before a call: before the nth of the reads of streams, or before the first append.
type between struct {
	eventstore.Store
	read   int // 0: before the append
	reads  int
	happen func() // nil: it happened
}

func (s *between) now() {
	if happen := s.happen; happen != nil {
		s.happen = nil
		happen()
	}
}

func (s *between) ReadStream(ctx context.Context, stream eventstore.StreamName, o eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if s.reads++; s.reads == s.read {
		s.now()
	}
	return s.Store.ReadStream(ctx, stream, o)
}

func (s *between) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if s.read == 0 {
		s.now()
	}
	return s.Store.Append(ctx, into, requests...)
}

func reversalsOf(n *node, t *testing.T, count int) (all []commands.Reversal) {
	t.Helper()
	for i := range count {
		k := key(fmt.Sprint(i))
		n.do(t, domain.RegisterInstance{Key: k, Details: details(time.Minute)})
		all = append(all, commands.Reversal{Key: k, Events: 1, Steps: []commands.ReversalStep{{Command: domain.ChangeTraffic{Key: k, Traffic: domain.Draining}}}})
	}
	return all
}

// A request that comes to two nodes at once is carried out once, and both are told of it as done, wherever the one overtakes the
// other. What another request changed meanwhile is not told as done.
func TestARevertThatIsUnderWayTwiceIsToldAsDoneByBoth(t *testing.T) {
	for _, together := range []bool{false, true} {
		for _, own := range []bool{true, false} {
			for read := range 7 {
				t.Run(fmt.Sprint("together ", together, ", the same ", own, ", before read ", read), func(t *testing.T) {
					store := eventstoretest.NewMemory()
					slow := &between{Store: store, read: -1}
					fast := start(t, store, true)
					defer fast.stop()
					late := start(t, slow, true)
					defer late.stop()
					all := reversalsOf(fast, t, 3)
					keyed := commands.Caller{Actor: "ann", Keyed: &commands.Keyed{Key: uuid.NewString()}}
					first := keyed
					if !own {
						first = commands.Caller{Actor: "bob"}
					}
					var position eventstore.Position
					slow.read, slow.reads, slow.happen = read, 0, func() {
						results, err := fast.service.Revert(ctx, first, all, "first", together)
						if err != nil || results[2].Err != nil {
							t.Fatalf("%v, %v", results, err)
						}
						position = results[2].Position
					}
					results, err := late.service.Revert(ctx, keyed, all, "second", together)
					if err != nil || slow.happen != nil {
						t.Fatal(err)
					}
					for i, r := range results {
						if refused := errors.As(r.Err, new(commands.ChangedSince)) || together && errors.Is(r.Err, eventstore.ErrNotTogether); own && r.Err != nil || !own && i == 2 && !refused {
							t.Errorf("reversal %d gives %v", i, r.Err)
						}
					}
					if own && results[2].Position != position {
						t.Errorf("it was done at %d, and is told at %d", position, results[2].Position)
					}
					if got := types(t, store, all[2].Key); got != "InstanceRegistered TrafficChanged " {
						t.Errorf("the instance has %s", got)
					}
				})
			}
		}
	}
}

// Each admission of a request with a key is an event of its own.
func TestTheAdmissionsOfARequestWithAKeyHaveIdsOfTheirOwn(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MaxRemovals: &domain.Removals{Count: 3, Within: domain.Duration(time.Hour)}})
	defer stop()
	n := nodes[0]
	all := reversalsOf(n, t, 4)
	for i := range all {
		all[i].Steps = []commands.ReversalStep{{Command: domain.DeregisterInstance{Key: all[i].Key}}}
	}
	keyed := commands.Caller{Actor: "ann", Keyed: &commands.Keyed{Key: uuid.NewString()}}
	if _, err := n.service.Revert(ctx, keyed, all, "mistake", true); err != nil { // one too many, so that all are withdrawn
		t.Fatal(err)
	}
	ids := map[uuid.UUID]string{}
	for e, err := range n.store.ReadStream(ctx, eventstore.GuardStream("default"), eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if other, found := ids[e.ID]; found {
			t.Errorf("%s has the id of a %s", e.Type, other)
		}
		ids[e.ID] = e.Type
	}
	if len(ids) != 7 { // three admitted and withdrawn, and one stopped
		t.Errorf("the guard stream has %v", ids)
	}
}
