package esdbstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// identityStream holds the store's identity, recorded by the first node that ever used the database.
const identityStream eventstore.StreamName = "rollcall-store"

// identity is the data of that stream's events: the first names the store, each says the newest version
// of the events' form that was written from then on.
type identity struct {
	ID     uuid.UUID `json:"id"`
	Schema int       `json:"schema"`
}

// ID is the store's identity: the same for every node on the same database, and another one on any
// other. It is made when there is none. A store that holds events of a newer form than this version knows
// is refused: it would drop what it does not understand.
func (s *Store) ID(ctx context.Context) (uuid.UUID, error) {
	for {
		found, events, err := s.readIdentity(ctx)
		if err != nil {
			return uuid.Nil, err
		}
		if found.Schema > domain.SchemaVersion {
			return uuid.Nil, fmt.Errorf("the event store holds events of schema %d, and this version knows up to %d: a newer version of rollcall wrote to it", found.Schema, domain.SchemaVersion)
		}
		if found.ID != uuid.Nil && found.Schema == domain.SchemaVersion {
			return found.ID, nil
		}
		if found.ID == uuid.Nil {
			if found.ID, err = uuid.NewRandom(); err != nil {
				return uuid.Nil, err
			}
		}
		expected := eventstore.NoStream()
		if events > 0 {
			expected = eventstore.Exactly(eventstore.Revision(events - 1))
		}
		data, err := json.Marshal(identity{found.ID, domain.SchemaVersion})
		if err != nil {
			return uuid.Nil, err
		}
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{ // another node may be first: look again
			Stream: identityStream, Expected: expected, Events: []eventstore.EventData{{Type: "StoreIdentified", Data: data, Metadata: []byte(`{"schema":1}`)}},
		}); err != nil {
			return uuid.Nil, err
		}
	}
}

func (s *Store) readIdentity(ctx context.Context) (found identity, events uint64, err error) {
	for e, err := range s.ReadStream(ctx, identityStream, eventstore.ReadOptions{}) {
		if err != nil {
			return found, events, err
		}
		if err := json.Unmarshal(e.Data, &found); err != nil || found.ID == uuid.Nil {
			return found, events, fmt.Errorf("stream %s does not hold a store's identity: %w", identityStream, err)
		}
		events = uint64(e.Revision) + 1
	}
	return found, events, nil
}
