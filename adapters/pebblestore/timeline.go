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

// timelines are what the store keeps of its timelines beside the events, so that an open need not look for them.
type timelines struct {
	eventstore.Timelines
	// Unrecorded is the event that tells of the newest timeline while the log may lack it. It is written with
	// the timeline, before any event of the timeline is: an open that finds it appends it first.
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

// BeginTimeline has the store leave its timeline at its end, for the reason that began names; the rest of began but
// Backup and Lost is filled in. The first event of the new timeline says so; a crash on the way leaves either no
// new timeline or one whose event the next open appends. Nobody may use the store yet: what was handed out of it
// would not know the timeline.
func (s *Store) BeginTimeline(ctx context.Context, began domain.TimelineBegan) (domain.TimelineBegan, error) {
	head := eventstore.Position(s.durable.Load())
	name := make([]byte, 5)
	if _, err := rand.Read(name); err != nil {
		return began, err
	}
	began.Timeline, began.Parent, began.After = hex.EncodeToString(name), s.timelines.Name, uint64(head)
	data, err := domain.Encode(began)
	if err != nil {
		return began, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return began, err
	}
	s.timelines.Timelines = s.timelines.Fork(began.Timeline, head)
	s.timelines.Unrecorded = &eventstore.EventData{
		ID: id, Type: began.EventType(), Data: data,
		Metadata: fmt.Appendf(nil, `{"actor":"rollcall","via":"%s","schema":%d}`, began.Reason, domain.SchemaVersion),
	}
	if err := s.saveTimelines(); err != nil {
		return began, err
	}
	return began, s.recordTimeline(ctx)
}

// recordTimeline appends the event of a new timeline, if the log may lack it. The event's id makes it safe
// to ask twice.
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
