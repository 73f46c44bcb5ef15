package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// grown measures again what must not depend on how much there is: appends, lookups and the history,
// over a log of so many events.
func (b *bench) grown() error {
	for _, events := range b.sizes.Events {
		dir := filepath.Join(b.dir, fmt.Sprint("grown-", events))
		if err := seedEvents(b.ctx, dir, events); err != nil {
			return err
		}
		s, err := startRegistry(b.ctx, dir)
		if err != nil {
			return err
		}
		err = b.after(events, s)
		if err := errors.Join(err, ignoreExit(s.stop())); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) after(events int, s *child) error {
	if err := b.followed(s); err != nil {
		return err
	}
	if err := registerFleet(b.ctx, s.address); err != nil {
		return err
	}
	return b.on(s, fmt.Sprintf(", after %d events", events), func(grown *bench) error {
		return errors.Join(grown.registrations(), grown.singleHeartbeats(256), grown.lookup("bench-7", benchFleet/500), grown.history())
	})
}

// on runs workloads on another server. Their figures' names get the suffix.
func (b *bench) on(s *child, suffix string, run func(*bench) error) error {
	other := *b
	other.server, other.address, other.suffix = s, s.address, suffix
	err := run(&other)
	b.figures = other.figures
	return err
}

// seeder appends to a store as fast as it takes it.
type seeder struct {
	ctx   context.Context
	store *pebblestore.Store
	batch []eventstore.AppendRequest
	done  chan error // of the batch before; nil: there is none
}

func (s *seeder) add(stream eventstore.StreamName, event domain.Event) error {
	data, err := domain.Encode(event)
	if err != nil {
		return err
	}
	s.batch = append(s.batch, eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: seedMetadata}}})
	if len(s.batch) == 4096 {
		return s.flush()
	}
	return nil
}

var seedMetadata = []byte(`{"actor":"anonymous","source":"10.1.2.3","via":"http","schema":1}`)

// flush appends the batch while the next one is made.
func (s *seeder) flush() (err error) {
	if s.done != nil {
		err = <-s.done
	}
	batch, done := s.batch, make(chan error, 1)
	s.batch, s.done = make([]eventstore.AppendRequest, 0, cap(batch)), done
	go func() {
		_, err := s.store.Append(s.ctx, nil, batch...)
		done <- err
	}()
	return err
}

func (s *seeder) close() error {
	err := s.flush()
	return errors.Join(err, <-s.done, s.store.Close())
}

func openSeeder(ctx context.Context, dir string) (*seeder, error) {
	store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{})
	return &seeder{ctx: ctx, store: store}, err
}

func seedKey(i int) domain.Key {
	return domain.Key{Namespace: domain.DefaultNamespace, Service: fmt.Sprint("many-", i%1000), ID: fmt.Sprint("i", i)}
}

func seedDetails(i, version int) domain.Details {
	return domain.Details{
		Address: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), Ports: map[string]uint16{"http": 8080}, Version: fmt.Sprint("1.0.", version),
		Zone: "eu-1a", Weight: domain.DefaultWeight, Status: domain.Passing, TTL: domain.Duration(time.Hour),
	}
}

// seed appends a number of events to the store in dir.
func seed(ctx context.Context, dir string, events int, of func(n int) (eventstore.StreamName, domain.Event)) error {
	s, err := openSeeder(ctx, dir)
	if err != nil {
		return err
	}
	for n := range events {
		if err := s.add(of(n)); err != nil {
			return errors.Join(err, s.close())
		}
	}
	return s.close()
}

// seedInstances makes a store with a number of registered instances.
func seedInstances(ctx context.Context, dir string, instances int) error {
	return seed(ctx, dir, instances, func(i int) (eventstore.StreamName, domain.Event) {
		return eventstore.LifecycleStream(seedKey(i)), domain.InstanceRegistered{Epoch: 1, Details: seedDetails(i, 0)}
	})
}

// SeedChanges makes a store of so many lifecycle events of 12,000 instances that register once and then
// change their health, their traffic state and their version.
func SeedChanges(ctx context.Context, dir string, events int) error {
	const fleet = 12_000
	if err := seedInstances(ctx, dir, fleet); err != nil {
		return err
	}
	return seed(ctx, dir, events-fleet, func(n int) (eventstore.StreamName, domain.Event) {
		i, round := n%fleet, n/fleet
		var event domain.Event = domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Warning, Source: domain.FromClient, Output: "slow"}
		switch round % 5 {
		case 1:
			event = domain.HealthChanged{Epoch: 1, From: domain.Warning, To: domain.Passing, Source: domain.FromClient}
		case 2:
			event = domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining, Reason: "deploy"}
		case 3:
			event = domain.InstanceUpdated{Epoch: 1, Changed: []string{"version"}, Details: seedDetails(i, round)}
		case 4:
			event = domain.TrafficChanged{Epoch: 1, From: domain.Draining, To: domain.Serving, Reason: "deployed"}
		}
		return eventstore.LifecycleStream(seedKey(i)), event
	})
}

// seedEvents makes a store of so many events of 10,000 instances: of twenty, nineteen are heartbeats and
// one is a change.
func seedEvents(ctx context.Context, dir string, events int) error {
	const fleet = 10_000
	if err := seedInstances(ctx, dir, fleet); err != nil {
		return err
	}
	return seed(ctx, dir, events-fleet, func(n int) (eventstore.StreamName, domain.Event) {
		i := n * 7 % fleet
		if n%20 == 0 {
			return eventstore.LifecycleStream(seedKey(i)), domain.InstanceUpdated{Epoch: 1, Changed: []string{"version"}, Details: seedDetails(i, n)}
		}
		return eventstore.HeartbeatStream(seedKey(i)), domain.HeartbeatReceived{Epoch: 1}
	})
}
