package eventstoretest

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Fleet appends what a few instances do at random to a store: a legal history, for tests of what is
// computed from events.
type Fleet struct {
	Store eventstore.Store
	Pick  func(n int) int // a number from 0 to before n
	IDs   int             // instances of each service; 0: 3

	states map[domain.Key]domain.Instance
}

// Do carries out n random commands. Those that the domain refuses leave no event.
func (f *Fleet) Do(ctx context.Context, n int) error {
	if f.states == nil {
		f.states = make(map[domain.Key]domain.Instance)
	}
	for range n {
		if err := f.one(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) one(ctx context.Context) error {
	key := domain.Key{
		Namespace: []string{"default", "shop"}[f.Pick(2)], Service: []string{"cart", "checkout"}[f.Pick(2)], ID: fmt.Sprint("i", f.Pick(max(f.IDs, 3))),
	}
	events, err := domain.Decide(f.states[key], f.command(key))
	if err != nil {
		return nil // it is none of this test's business
	}
	for _, e := range events {
		data, err := domain.Encode(e)
		if err != nil {
			return err
		}
		request := eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key), Events: []eventstore.EventData{{
			Type: e.EventType(), Data: data, Metadata: fmt.Appendf(nil, `{"actor":"%s","via":"http","schema":2}`, []string{"ann", "bob"}[f.Pick(2)]),
		}}}
		if _, beat := e.(domain.HeartbeatReceived); beat {
			request.Stream = eventstore.HeartbeatStream(key)
		}
		if _, err := f.Store.Append(ctx, nil, request); err != nil {
			return err
		}
		state := f.states[key]
		state.Key = key
		f.states[key] = domain.Evolve(state, e, domain.Recorded{})
	}
	return nil
}

func (f *Fleet) command(key domain.Key) domain.Command {
	switch f.Pick(9) {
	case 0, 1, 2:
		return domain.RegisterInstance{Key: key, Details: domain.Details{
			Address: fmt.Sprint("10.0.0.", f.Pick(3)), Weight: domain.DefaultWeight, Status: domain.Passing, TTL: domain.Duration(time.Minute),
			Metadata: map[string]string{"k": fmt.Sprint(f.Pick(3))},
		}}
	case 3, 4:
		return domain.SendHeartbeat{Key: key}
	case 5:
		return domain.ReportHealth{Key: key, Source: domain.FromClient, Status: []domain.Status{domain.Passing, domain.Warning}[f.Pick(2)], Output: "out of memory"}
	case 6:
		return domain.ChangeTraffic{Key: key, Traffic: []domain.Traffic{domain.Serving, domain.Draining}[f.Pick(2)], Reason: "deploy"}
	case 7:
		return domain.DeregisterInstance{Key: key, Reason: "scaled down"}
	}
	return domain.ExpireLease{Key: key, LastHeard: domain.LastHeard{LastHeartbeat: time.Unix(1, 0).UTC()}}
}
