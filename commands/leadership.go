package commands

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// leads says whether this node is to look for lapsed leases. A node that has taken the lead cannot know how long each lease
// had to run, because heartbeats that the earlier leader refused are not in the log. It counts every lease as heard now.
func (x *Expiry) leads(now time.Time) bool {
	if x.Leadership == nil {
		return true
	}
	term, ok := x.Leadership.Leads()
	if !ok {
		x.term = 0
		for range x.Listening.Over() { // only what the leader could not hear keeps leases from lapsing
			x.Listening.Told()
		}
		return false
	}
	if term != x.term {
		x.term, x.preservation = term, leases.Preservation{}
		x.Projections.Leases().Grace(now)
	}
	return true
}

// store is the event store for what the expiry decides: it refuses what was decided in an earlier term.
func (x *Expiry) store() eventstore.Store {
	if x.Leadership == nil {
		return x.Service.store
	}
	return termStore{x.Service.store, x.term}
}

// termStore names the term in each request.
type termStore struct {
	eventstore.Store
	term uint64
}

// Append implements eventstore.Store.
func (s termStore) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	for i := range requests {
		requests[i].Term = s.term
	}
	return s.Store.Append(ctx, into, requests...)
}
