package pebblestore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// timelines is what the store keeps about its timelines under one key, so that an open need not search the events.
type timelines struct {
	eventstore.Timelines
	// Unrecorded is the event that begins the newest timeline, while the log may lack that event. It is written with
	// the timeline, before any event of the timeline. An open that finds it appends it first.
	Unrecorded *eventstore.EventData `json:",omitempty"`
}

// Timelines implements eventstore.Store.
func (s *Store) Timelines() eventstore.Timelines { return s.timelines.Timelines }

func (s *Store) loadTimelines() error {
	b, err := s.get(keyTimelines)
	if err != nil || b == nil {
		return err
	}
	if err := json.Unmarshal(b, &s.timelines); err != nil {
		return fmt.Errorf("timelines: %w", err)
	}
	return nil
}

func (s *Store) saveTimelines() error {
	b, err := json.Marshal(s.timelines)
	if err != nil {
		return err
	}
	return s.db.Set(keyTimelines, b, pebble.Sync)
}

// BeginTimeline makes the store leave its timeline at its newest event. began names the reason, and may name Backup and
// Lost; BeginTimeline fills in the other fields. The first event of the new timeline tells of this. A crash leaves either
// no new timeline, or a timeline whose first event the next open appends.
//
// REQUIRES: nobody uses the store yet, because events and positions that were given out before would not name the
// timeline.
func (s *Store) BeginTimeline(ctx context.Context, began domain.TimelineBegan) (domain.TimelineBegan, error) {
	began, err := s.fork(s.timelines.Timelines, eventstore.Position(s.durable.Load()), began)
	if err != nil {
		return began, err
	}
	return began, s.recordTimeline(ctx)
}

// Descend has a store that was filled from another one go on as a timeline of its own, which leaves the other store's
// after the last position at which both have the same events. The log tells of this when the store is next opened
// without Options.Filling: until then it has what the other one has and nothing else.
//
// REQUIRES: as BeginTimeline.
func (s *Store) Descend(of eventstore.Timelines, shared eventstore.Position) (domain.TimelineBegan, error) {
	return s.fork(of, shared, domain.TimelineBegan{Reason: domain.Migrated})
}

// fork draws the name of a timeline that leaves others after a position, and saves the timeline with its event.
func (s *Store) fork(of eventstore.Timelines, after eventstore.Position, began domain.TimelineBegan) (domain.TimelineBegan, error) {
	name := make([]byte, 5)
	if _, err := rand.Read(name); err != nil {
		return began, err
	}
	began.Timeline, began.Parent, began.After = hex.EncodeToString(name), of.Name, uint64(after)
	data, err := domain.Encode(began)
	if err != nil {
		return began, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return began, err
	}
	s.timelines.Timelines = of.Fork(began.Timeline, after)
	s.timelines.Unrecorded = &eventstore.EventData{
		ID: id, Type: began.EventType(), Data: data,
		Metadata: fmt.Appendf(nil, `{"actor":"rollcall","via":"%s","schema":%d}`, began.Reason, domain.SchemaVersion),
	}
	return began, s.saveTimelines()
}

// recordTimeline appends the first event of a new timeline, if the log may lack that event. Because the event has an id,
// a second append of it changes nothing.
func (s *Store) recordTimeline(ctx context.Context) error {
	if s.timelines.Unrecorded == nil {
		return nil
	}
	results, err := s.Append(ctx, nil, eventstore.AppendRequest{
		Stream: eventstore.RegistryStream, Events: []eventstore.EventData{*s.timelines.Unrecorded},
	})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return fmt.Errorf("record that timeline %s began: %w", s.timelines.Name, err)
	}
	s.timelines.Unrecorded = nil
	return s.saveTimelines()
}
