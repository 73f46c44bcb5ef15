package queries

import (
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// At is the change's position, as followers are given it to come back with.
func (c Changed) At() wire.Position { return wire.Position{Timeline: c.timeline, Number: c.Position()} }

// Show is the change's form for people and programs. All followers whom it tells to put an instance, and all
// whom it tells to delete it, are told the same.
func (c Changed) Show() wire.Change {
	entry := c.After
	if entry == nil {
		entry = c.Before
	}
	shown := wire.Change{
		Position: c.At(), Op: wire.Delete, Namespace: entry.Service().Namespace, Service: entry.Service().Service, ID: entry.ID(),
		Type: c.Event.Type, Summary: c.Event.Type, RecordedAt: c.Event.RecordedAt,
	}
	if event, err := eventstore.Decode(&c.Event); err == nil {
		shown.Summary = Words(event, c.Event.RecordedAt)
	}
	var m domain.Metadata
	if json.Unmarshal(c.Event.Metadata, &m) == nil { // another writer's may be anything
		shown.Actor, shown.Via = m.Actor, m.Via
	}
	if c.Put {
		instance := Show(c.After, nil)
		shown.Op, shown.Instance = wire.Put, &instance
	}
	return shown
}
