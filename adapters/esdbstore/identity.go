package esdbstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// identityStream holds the store's identity, recorded by the first node that ever used the database.
const identityStream eventstore.StreamName = "rollcall-store"

type identity struct {
	ID uuid.UUID `json:"id"`
}

// ID is the store's identity: the same for every node on the same database, and another one on any
// other. It is made when there is none.
func (s *Store) ID(ctx context.Context) (uuid.UUID, error) {
	for {
		id, err := s.readID(ctx)
		if err != nil || id != uuid.Nil {
			return id, err
		}
		made, err := uuid.NewRandom()
		if err != nil {
			return id, err
		}
		data, err := json.Marshal(identity{made})
		if err != nil {
			return id, err
		}
		results, err := s.Append(ctx, eventstore.AppendRequest{
			Stream: identityStream, Expected: eventstore.NoStream(), Events: []eventstore.EventData{{Type: "StoreIdentified", Data: data, Metadata: []byte(`{"schema":1}`)}},
		})
		var conflict *eventstore.WrongExpectedRevision
		if err != nil || results[0].Err != nil && !errors.As(results[0].Err, &conflict) {
			return id, errors.Join(err)
		}
	}
}

func (s *Store) readID(ctx context.Context) (uuid.UUID, error) {
	for e, err := range s.ReadStream(ctx, identityStream, eventstore.ReadOptions{Limit: 1}) {
		if err != nil {
			return uuid.Nil, err
		}
		var found identity
		if err := json.Unmarshal(e.Data, &found); err != nil || found.ID == uuid.Nil {
			return uuid.Nil, fmt.Errorf("stream %s does not hold a store's identity: %w", identityStream, err)
		}
		return found.ID, nil
	}
	return uuid.Nil, nil
}
