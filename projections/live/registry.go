package live

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// registry is the state that the registry's own stream has. It is immutable.
type registry struct {
	events    uint64 // of the stream
	standings *leases.Standings
	deaf      []domain.ListeningInterrupted // times in which no renewal could be taken, oldest first
}

func newRegistry() *registry { return &registry{standings: &leases.Standings{}} }

// after is the state after the next event of the stream. An event that cannot be read changes no standing.
func (r *registry) after(e *eventstore.RecordedEvent) *registry {
	if uint64(e.Revision) < r.events { // loadRegistry has read ahead
		return r
	}
	next := &registry{events: uint64(e.Revision) + 1, standings: r.standings, deaf: r.deaf}
	if event, err := eventstore.Decode(e); err == nil {
		if interrupted, ok := event.(domain.ListeningInterrupted); ok {
			next.deaf = append(slices.Clip(r.deaf), interrupted)
		}
		var m domain.Metadata
		_ = json.Unmarshal(e.Metadata, &m) // another writer's may be anything
		next.standings = r.standings.After(event, m.Actor, e.RecordedAt)
	}
	return next
}

// loadRegistry reads the registry's stream, which has few events.
func (s *State) loadRegistry(ctx context.Context) error {
	r := newRegistry()
	for e, err := range s.opts.Store.ReadStream(ctx, eventstore.RegistryStream, eventstore.ReadOptions{}) {
		if err != nil {
			return err
		}
		r = r.after(&e)
	}
	s.registry.Store(r)
	return nil
}

// SelfPreservation gives the standings of the namespaces, and the number of events in the registry's stream from which
// they follow.
func (s *State) SelfPreservation() (standings *leases.Standings, events uint64) {
	r := s.registry.Load()
	return r.standings, r.events
}
