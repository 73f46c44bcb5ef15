package wire

import (
	"time"

	"github.com/google/uuid"
)

// RevertRequest asks for a revert. Just one of To, Event, Actor and Request says what is taken back.
type RevertRequest struct {
	Namespace string `json:"namespace,omitempty"` // "": the default one with To, any one otherwise; "*": any one
	Service   string `json:"service,omitempty"`
	Instance  string `json:"instance,omitempty"`

	To      string `json:"to,omitempty"`      // the moment to go back to; with Actor, where the span ends
	Event   string `json:"event,omitempty"`   // the position or the id of one event
	Actor   string `json:"actor,omitempty"`   // the events of one actor since From
	From    string `json:"from,omitempty"`    // a moment; only with Actor or Request
	Request string `json:"request,omitempty"` // the events of one request, by its id

	Kinds         []string `json:"kinds,omitempty"` // none: all
	IncludeLapsed bool     `json:"include_lapsed,omitempty"`
	AllOrNothing  bool     `json:"all_or_nothing,omitempty"`
	DryRun        bool     `json:"dry_run,omitempty"`
	Reason        string   `json:"reason,omitempty"`
	Plan          string   `json:"plan,omitempty"` // position of a plan that was looked at: what changed after it is skipped
}

// Revert is a plan, or what became of it.
type Revert struct {
	DryRun    bool         `json:"dry_run"`
	Position  Position     `json:"position"`     // of the plan
	To        *Place       `json:"to,omitempty"` // the moment to go back to
	Instances int          `json:"instances"`    // that the plan changes, or that were changed
	Steps     []RevertStep `json:"steps"`        // of a plan: to be done; otherwise: done
	LeftAlone []RevertLeft `json:"left_alone"`
	Skipped   []RevertLeft `json:"skipped"` // steps that were not done, because the instance changed after the plan or a rule refused them
}

// RevertStep is one command of a revert.
type RevertStep struct {
	Namespace string       `json:"namespace"`
	Service   string       `json:"service"`
	ID        string       `json:"id"`
	Kind      string       `json:"kind"`
	Command   string       `json:"command"` // its type, as in a batch of commands
	Change    string       `json:"change"`  // in words
	Reverts   *RevertCause `json:"reverts,omitempty"`
	At        *Position    `json:"at,omitempty"` // of the instance's newest event of the revert; absent in a plan
}

// RevertLeft is what a revert does not do to an instance.
type RevertLeft struct {
	Namespace string       `json:"namespace"`
	Service   string       `json:"service"`
	ID        string       `json:"id"`
	Kind      string       `json:"kind,omitempty"`
	Why       string       `json:"why"` // stable; programs decide by it
	Detail    string       `json:"detail"`
	Event     *RevertCause `json:"event,omitempty"`
}

// RevertCause is an event whose effect a revert takes back, or because of which it leaves something alone.
type RevertCause struct {
	EventID    uuid.UUID `json:"event_id"`
	Position   Position  `json:"position"`
	RecordedAt time.Time `json:"recorded_at"`
	Type       string    `json:"type"`
	Actor      string    `json:"actor,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}
