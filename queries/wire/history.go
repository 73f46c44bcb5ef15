package wire

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// HistoryEntry is what the audit says of one event.
type HistoryEntry struct {
	EventID    uuid.UUID           `json:"event_id"`
	Position   Position            `json:"position"`
	Revision   eventstore.Revision `json:"revision"`
	RecordedAt time.Time           `json:"recorded_at"`
	Namespace  string              `json:"namespace,omitempty"`
	Service    string              `json:"service,omitempty"`
	ID         string              `json:"id,omitempty"`
	Type       string              `json:"type"`
	Summary    string              `json:"summary"` // what happened, in words
	Actor      string              `json:"actor,omitempty"`
	Source     string              `json:"source,omitempty"`
	Via        string              `json:"via,omitempty"`
	RequestID  string              `json:"request_id,omitempty"`
	Reverts    string              `json:"reverts,omitempty"` // of a revert: the id of the event whose effect this one takes back
	Reason     string              `json:"reason,omitempty"`  // of a revert: why
	Changes    []FieldChange       `json:"changes,omitempty"`
	Leaf       int64               `json:"leaf"` // its number in the tamper-evident log
	Data       json.RawMessage     `json:"data"`
}

// FieldChange is one field before and after.
type FieldChange struct {
	Field string `json:"field"`
	From  any    `json:"from"` // null: it was not there
	To    any    `json:"to"`   // null: it is not there any more
}

// HeartbeatHour is what an instance's heartbeats of an hour come to.
type HeartbeatHour struct {
	Hour       time.Time       `json:"hour"`
	Received   uint64          `json:"received"`
	Expected   uint64          `json:"expected"` // the fewest that keep the lease: the time it was live in this hour by its ttl
	LongestGap domain.Duration `json:"longest_gap"`
	Last       time.Time       `json:"last"`
}

// HistoryPage is a page of entries.
type HistoryPage struct {
	Position   Position        `json:"position"` // up to where the history is
	Entries    []HistoryEntry  `json:"entries"`
	Next       string          `json:"next,omitempty"` // cursor of the next page; absent on the last
	Heartbeats []HeartbeatHour `json:"heartbeats,omitempty"`
}

// Difference is what must be done to the catalog at one moment to get that at another.
type Difference struct {
	Added   []InstanceChange `json:"added"`
	Removed []InstanceChange `json:"removed"`
	Changed []InstanceChange `json:"changed"`
}

// InstanceChange is what became of one instance.
type InstanceChange struct {
	Namespace string        `json:"namespace"`
	Service   string        `json:"service"`
	ID        string        `json:"id"`
	Before    *Instance     `json:"before,omitempty"` // of a removed or changed one
	After     *Instance     `json:"after,omitempty"`  // of an added or changed one
	Fields    []FieldChange `json:"fields,omitempty"` // of a changed one
	Event     *HistoryEntry `json:"event,omitempty"`  // the newest event that did it
}

// Diff is the difference between two moments.
type Diff struct {
	From Place `json:"from"`
	To   Place `json:"to"`
	Difference
	Next string `json:"next,omitempty"` // cursor of the next page; "": this is the last
}
