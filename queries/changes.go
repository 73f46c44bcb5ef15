package queries

import (
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ShowChange is a change's form for subscribers whose filter picks what it picks: an instance that
// begins to match is put, one that ceases to is deleted. ok is false when it is none of theirs.
func ShowChange(c *feed.Change, filter InstanceFilter) (shown wire.Change, ok bool) {
	was, is := c.Before != nil && filter.match(c.Before), c.After != nil && filter.match(c.After)
	if !was && !is {
		return shown, false
	}
	entry := c.After
	if entry == nil {
		entry = c.Before
	}
	shown = wire.Change{
		Position: wire.Position{Number: c.Position()}, Op: wire.Delete, Namespace: entry.Service().Namespace, Service: entry.Service().Service, ID: entry.ID(),
		Type: c.Event.Type, Summary: c.Event.Type, RecordedAt: c.Event.RecordedAt,
	}
	if event, err := eventstore.Decode(&c.Event); err == nil {
		shown.Summary = Words(event, c.Event.RecordedAt)
	}
	var m domain.Metadata
	if json.Unmarshal(c.Event.Metadata, &m) == nil { // another writer's may be anything
		shown.Actor, shown.Via = m.Actor, m.Via
	}
	if is {
		instance := Show(c.After, nil)
		shown.Op, shown.Instance = wire.Put, &instance
	}
	return shown, true
}

// Unfiltered says whether a filter picks every instance, so that all who use it can share what was
// encoded once.
func (f InstanceFilter) Unfiltered() bool { return !f.Ready && !f.narrow() }
