package commands_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// overtaken is a store in which something else happens just before or after the next heartbeat is appended.
type overtaken struct {
	*eventstoretest.Memory
	before, after func()
}

func (o *overtaken) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if before := o.before; before != nil && len(requests) > 0 && requests[0].Stream.IsHeartbeat() {
		o.before = nil
		before()
	}
	results, err := o.Memory.Append(ctx, into, requests...)
	if after := o.after; after != nil && len(requests) > 0 && requests[0].Stream.IsHeartbeat() {
		o.after = nil
		after()
	}
	return results, err
}

// life appends lifecycle events as another node would.
func life(t *testing.T, store eventstore.Store, events ...domain.Event) {
	t.Helper()
	for _, e := range events {
		data, err := domain.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		results, err := store.Append(ctx, nil, eventstore.AppendRequest{
			Stream: eventstore.LifecycleStream(key("a")),
			Events: []eventstore.EventData{{Type: e.EventType(), Data: data, Metadata: []byte(`{"schema":1}`)}},
		})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
	}
}

// A heartbeat's answer holds where the heartbeat stands, whatever came between its decision and its append.
func TestAHeartbeatsAnswerHoldsAtItsPosition(t *testing.T) {
	renewed := domain.InstanceRegistered{Epoch: 2, Details: details(time.Minute)}
	for name, c := range map[string]struct {
		before  []domain.Event
		epoch   uint64 // that the heartbeat names
		refused error
		heard   uint64 // epoch of the heartbeat that counts
	}{
		"nothing":                        {heard: 1},
		"a change of health":             {before: []domain.Event{domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Warning}}, heard: 1},
		"its expiry":                     {before: []domain.Event{domain.LeaseExpired{Epoch: 1}}, refused: domain.LeaseLapsed{Key: key("a")}},
		"its end":                        {before: []domain.Event{domain.InstanceDeregistered{Epoch: 1}}, refused: domain.UnknownInstance{Key: key("a"), Deregistered: true}},
		"a new epoch":                    {before: []domain.Event{domain.InstanceDeregistered{Epoch: 1}, renewed}, heard: 2},
		"a new epoch, the old one named": {before: []domain.Event{domain.LeaseExpired{Epoch: 1}, renewed}, epoch: 1, refused: domain.StaleEpoch{Key: key("a"), Epoch: 1, Live: 2}},
	} {
		for _, untying := range []bool{false, true} {
			for kind, send := range map[string]func(*node) commands.Result{
				"heartbeat": func(n *node) commands.Result {
					return n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: key("a"), Epoch: c.epoch}})
				},
				"batch": func(n *node) commands.Result {
					return n.service.Heartbeats(caller).SendAll(ctx, []domain.Key{key("a")}, nil, nil)[0]
				},
				"many callers": func(n *node) commands.Result {
					own := n.service.Heartbeats(caller)
					tried := n.service.TrySendMany(ctx, []commands.CallersHeartbeat{{By: own, Key: key("a")}}, nil)[0]
					if !tried.Known {
						return own.Send(ctx, domain.SendHeartbeat{Key: key("a")})
					}
					return tried.Result
				},
				"same details": func(n *node) commands.Result {
					return n.service.Do(ctx, caller, commands.Request{Command: domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}})
				},
			} {
				if c.epoch != 0 && kind != "heartbeat" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/untying=%t", name, kind, untying), func(t *testing.T) {
					store := &overtaken{Memory: eventstoretest.NewMemory()}
					store.Untying = untying
					n := start(t, store, false)
					defer n.stop()
					n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
					store.before = func() { life(t, store.Memory, c.before...) }
					r := send(n)
					if kind == "same details" && c.refused != nil {
						if r.Err != nil || !r.Created || r.Epoch != 2 {
							t.Fatalf("a registration that found the epoch ended gave %+v", r)
						}
						return
					}
					if !errors.Is(r.Err, c.refused) || (r.Err == nil) != (c.refused == nil) {
						t.Fatalf("answered %v, want %v", r.Err, c.refused)
					}
					if c.refused != nil {
						return
					}
					for e, err := range store.ReadStream(ctx, eventstore.HeartbeatStream(key("a")), eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
						event, _ := eventstore.Decode(&e)
						if err != nil || event != (domain.HeartbeatReceived{Epoch: c.heard}) || e.Position != r.Position || r.Epoch != c.heard {
							t.Errorf("answered %+v, the newest heartbeat is %+v at %d (%v)", r, event, e.Position, err)
						}
					}
				})
			}
		}
	}
}

// Over a store that cannot tie, an expiry that did not see the heartbeat takes the heartbeat with it, though it
// stands behind it.
func TestAnUntiedHeartbeatThatLostAgainstTheExpiryIsAnsweredAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &overtaken{Memory: eventstoretest.NewMemory()}
		store.Untying = true
		n := start(t, store, false)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
		n.stop() // the catalog learns of nothing more; the stream must be asked
		store.after = func() { life(t, store.Memory, domain.LeaseExpired{Epoch: 1}) }
		r := n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: key("a")}})
		if !errors.Is(r.Err, domain.LeaseLapsed{Key: key("a")}) {
			t.Errorf("answered %+v", r)
		}
	})
}

// A catalog that is behind refuses nothing, and calls nothing done, that its stream knows better.
func TestACatalogThatIsBehindRefusesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		before  []domain.Event
		command domain.Command
		refused error
	}{
		"a heartbeat of the new epoch": {
			[]domain.Event{domain.InstanceDeregistered{Epoch: 1}, domain.InstanceRegistered{Epoch: 2, Details: details(time.Minute)}},
			domain.SendHeartbeat{Key: key("a"), Epoch: 2}, nil,
		},
		"a report of the new epoch": {
			[]domain.Event{domain.InstanceDeregistered{Epoch: 1}, domain.InstanceRegistered{Epoch: 2, Details: details(time.Minute)}},
			domain.ReportHealth{Key: key("a"), Epoch: 2, Status: domain.Warning, Source: domain.FromClient}, nil,
		},
		"a report of what was": {
			[]domain.Event{domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Critical}},
			domain.ReportHealth{Key: key("a"), Status: domain.Passing, Source: domain.FromClient}, nil,
		},
		"a report of one that ended": {
			[]domain.Event{domain.InstanceDeregistered{Epoch: 1}},
			domain.ReportHealth{Key: key("a"), Status: domain.Passing, Source: domain.FromClient}, domain.UnknownInstance{Key: key("a"), Deregistered: true},
		},
		"a heartbeat of one that ended": {
			[]domain.Event{domain.InstanceDeregistered{Epoch: 1}},
			domain.SendHeartbeat{Key: key("a")}, domain.UnknownInstance{Key: key("a"), Deregistered: true},
		},
	} {
		for _, untying := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/untying=%t", name, untying), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := eventstoretest.NewMemory()
					store.Untying = untying
					n := start(t, store, false)
					registered := n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
					n.stop() // from here on the catalog stays as it is
					life(t, store, c.before...)
					patience, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					r := n.service.Do(patience, caller, commands.Request{Command: c.command})
					if !errors.Is(r.Err, c.refused) || (r.Err == nil) != (c.refused == nil) {
						t.Fatalf("answered %v, want %v", r.Err, c.refused)
					}
					if appended := r.Position > registered.Position+eventstore.Position(len(c.before)); r.Err == nil && !appended {
						t.Errorf("answered %+v as if nothing was to be done", r)
					}
				})
			})
		}
	}
}
