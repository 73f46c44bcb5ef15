package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// fleet is the simulated instances of the demo. They live as long as keepAlive runs.
type fleet struct {
	remote *client.Client
	ttl    time.Duration

	mu      sync.Mutex
	members []member
	cutOff  string // zone whose heartbeats do not arrive; "": none
}

// member is a simulated instance.
type member struct {
	key     domain.Key
	details domain.Details
	dead    bool // it sends no heartbeats
}

// fleetSizes are the services of the demo, with how many instances each has.
var fleetSizes = []struct {
	service string
	size    int
}{{"web", 4}, {"checkout", 3}, {"cart", 4}, {"search", 4}, {"payments", 3}, {"users", 4}, {"mail", 2}}

var fleetZones = []string{"eu-1a", "eu-1b"}

func newFleet(remote *client.Client, ttl time.Duration) *fleet {
	f := &fleet{remote: remote, ttl: ttl}
	for _, s := range fleetSizes {
		for i := range s.size {
			zone := len(f.members) % len(fleetZones)
			f.members = append(f.members, member{
				key: domain.Key{Namespace: domain.DefaultNamespace, Service: s.service, ID: fmt.Sprintf("%s-%d", s.service, i+1)},
				details: domain.Details{
					Address: fmt.Sprintf("10.0.%d.%d", zone+1, 10+len(f.members)), Ports: map[string]uint16{"http": 8080}, Zone: fleetZones[zone],
					Version: "1.4.0", Weight: domain.DefaultWeight, Status: domain.Passing, TTL: domain.Duration(ttl),
				},
			})
		}
	}
	return f
}

// register registers all members.
func (f *fleet) register(ctx context.Context) error {
	for _, m := range f.members {
		if _, err := f.remote.Register(ctx, m.key, m.details); err != nil {
			return err
		}
	}
	return nil
}

// keepAlive sends the heartbeats of all members that live and are not cut off, in one request, until the context ends.
// What the registry refuses is refused: the story tells of it.
func (f *fleet) keepAlive(ctx context.Context) {
	for pause(ctx, f.ttl/4) {
		f.beat(ctx)
	}
}

// beat holds the lock until the answer is there: no heartbeat is under way once kill or cut have returned.
func (f *fleet) beat(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []domain.Key
	for _, m := range f.members {
		if !m.dead && (f.cutOff == "" || m.details.Zone != f.cutOff) {
			keys = append(keys, m.key)
		}
	}
	if len(keys) > 0 {
		_, _ = f.remote.Heartbeats(ctx, keys)
	}
}

// of gives the members of a service.
func (f *fleet) of(service string) []*member {
	var found []*member
	for i := range f.members {
		if f.members[i].key.Service == service {
			found = append(found, &f.members[i])
		}
	}
	return found
}

// kill has a member say nothing more.
func (f *fleet) kill(m *member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.dead = true
}

// cut lets no heartbeats of a zone arrive; "" lets all arrive again.
func (f *fleet) cut(zone string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutOff = zone
}

// inZone counts the members of a zone that live.
func (f *fleet) inZone(zone string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(f.members), func(m member) bool { return m.dead || m.details.Zone != zone }))
}

// pause waits. It says false if the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
