package queries

import (
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// At is the change's position in the form for followers.
func (c Changed) At() wire.Position { return wire.Position{Timeline: c.timeline, Number: c.Position()} }

// Show gives the change in the form of the API. The form depends on Put only: all followers that must put the instance get
// the same form, and so do all followers that must delete the instance.
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
	if json.Unmarshal(c.Event.Metadata, &m) == nil { // an event of another program may have any metadata
		shown.Actor, shown.Via = m.Actor, m.Via
	}
	if c.Put {
		instance := Show(c.After, nil)
		shown.Op, shown.Instance = wire.Put, &instance
	}
	return shown
}
