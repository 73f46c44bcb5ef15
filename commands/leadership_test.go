package commands_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// led is the store of a node in a cluster.
type led struct {
	*eventstoretest.Memory
	leads   atomic.Uint64 // the term in which the node believes that it leads; 0: it does not
	term    atomic.Uint64 // of the cluster
	refused atomic.Uint64 // requests of another term
}

func (l *led) Leads() (uint64, bool) { return l.leads.Load(), l.leads.Load() != 0 }

func (l *led) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	for _, r := range requests {
		if r.Term != 0 && r.Term != l.term.Load() {
			l.refused.Add(1)
			return append(into, make([]eventstore.AppendResult, len(requests))...), eventstore.ErrOtherTerm
		}
	}
	return l.Memory.Append(ctx, into, requests...)
}

func newLed() *led {
	l := &led{Memory: eventstoretest.NewMemory()}
	l.term.Store(3)
	return l
}

func expired(t *testing.T, n *node, id string) bool {
	types := n.types(t, eventstore.LifecycleStream(key(id)))
	return types[len(types)-1] == domain.TypeLeaseExpired
}

func TestOnlyTheNodeThatLeadsEndsLeasesAndItFirstGivesThemTheirTTLAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLed()
		n := start(t, store, true)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(2 * time.Second)})
		time.Sleep(time.Minute)
		if expired(t, n, "a") {
			t.Fatal("a node that does not lead ended a lease")
		}
		store.leads.Store(3)
		time.Sleep(1900 * time.Millisecond)
		if expired(t, n, "a") {
			t.Fatal("the node ended a lease less than a ttl after it had taken the lead")
		}
		time.Sleep(time.Second)
		if !expired(t, n, "a") {
			t.Fatal("the node that leads has not ended the lease")
		}
		for _, event := range n.types(t, eventstore.RegistryStream) {
			t.Errorf("the registry's stream has a %s", event)
		}
	})
}

// A node may have lost the lead without noticing.
func TestAnExpiryThatWasJudgedInAnEarlierTermIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLed()
		store.leads.Store(2)
		n := start(t, store, true)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(2 * time.Second)})
		time.Sleep(time.Minute)
		if expired(t, n, "a") || store.refused.Load() == 0 {
			t.Fatalf("an expiry of an earlier term ended the lease; %d were refused", store.refused.Load())
		}
	})
}
