package queries

import (
	"bytes"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// Secrets says of which streams a caller may see the secrets: what checks send to their targets, and URLs of webhooks. A nil
// Secrets shows them all.
type Secrets func(eventstore.StreamName) bool

// noSecrets is for replies that callers share.
var noSecrets Secrets = func(eventstore.StreamName) bool { return false }

// fieldsOfSecrets are in the data of every event that has a secret.
var fieldsOfSecrets = [][]byte{[]byte(`"headers"`), []byte(`"body"`), []byte(`"url"`)}

// Show is an event as the caller may see it. It is the same event if it has no secret.
func (s Secrets) Show(e *eventstore.RecordedEvent) *eventstore.RecordedEvent {
	if s == nil || e == nil || !mayHoldSecrets(e) || s(e.Stream) {
		return e
	}
	event, err := eventstore.Decode(e)
	if err != nil {
		return e // another program wrote it, or a newer version
	}
	event, concealed := domain.Concealed(event)
	if !concealed {
		return e
	}
	shown := *e
	if shown.Data, err = domain.Encode(event); err != nil {
		shown.Data = []byte("null")
	}
	return &shown
}

// mayHoldSecrets is cheap: nearly every event has none.
func mayHoldSecrets(e *eventstore.RecordedEvent) bool {
	switch e.Type {
	case domain.TypeInstanceRegistered, domain.TypeInstanceUpdated, domain.TypeCheckAdded, domain.TypeWebhookCreated:
		for _, field := range fieldsOfSecrets {
			if bytes.Contains(e.Data, field) {
				return true
			}
		}
	}
	return false
}

// entry is an entry of the history as the caller may see it.
func (s Secrets) entry(e *history.Entry) *history.Entry {
	event, previous := s.Show(&e.RecordedEvent), s.Show(e.Previous)
	if event == &e.RecordedEvent && previous == e.Previous {
		return e
	}
	shown := *e
	shown.RecordedEvent, shown.Previous = *event, previous
	return &shown
}
