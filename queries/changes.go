package queries

import (
	"encoding/json"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// The operations of a change: put an instance, or delete it.
const (
	Put    = "put"
	Delete = "delete"
)

// Change is what a subscriber is told of one event: what to do to its copy of the catalog, and why.
type Change struct {
	Position   eventstore.Position `json:"position,string"`
	Op         string              `json:"op"` // put or delete
	Namespace  string              `json:"namespace"`
	Service    string              `json:"service"`
	ID         string              `json:"id"`
	Type       string              `json:"type"`    // of the event
	Summary    string              `json:"summary"` // what happened, in words
	Actor      string              `json:"actor,omitempty"`
	Via        string              `json:"via,omitempty"`
	RecordedAt time.Time           `json:"recorded_at"`
	Instance   *catalog.Instance   `json:"instance,omitempty"` // of a put
}

// ShowChange is a change's form for subscribers whose filter picks what it picks: an instance that
// begins to match is put, one that ceases to is deleted. ok is false when it is none of theirs.
func ShowChange(c *feed.Change, filter InstanceFilter) (shown Change, ok bool) {
	was, is := c.Before != nil && filter.match(c.Before), c.After != nil && filter.match(c.After)
	if !was && !is {
		return shown, false
	}
	entry := c.After
	if entry == nil {
		entry = c.Before
	}
	shown = Change{
		Position: c.Position(), Op: Delete, Namespace: entry.Service().Namespace, Service: entry.Service().Service, ID: entry.ID(),
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
		instance := c.After.Show()
		shown.Op, shown.Instance = Put, &instance
	}
	return shown, true
}

// Unfiltered says whether a filter picks every instance, so that all who use it can share what was
// encoded once.
func (f InstanceFilter) Unfiltered() bool { return !f.Ready && !f.narrow() }
