// Package wire has the JSON forms of the native API that servers and clients share. It knows the
// domain and nothing else, so that a client that imports it imports no server.
package wire

import (
	"encoding"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Position is a place in the log as clients are given it, to come back with. Its text is the number,
// with "-" and the timeline behind it where that is not the store's first.
type Position struct {
	Timeline string // "": the first
	Number   eventstore.Position
}

var (
	_ encoding.TextMarshaler   = Position{}
	_ encoding.TextUnmarshaler = (*Position)(nil)
)

// String is the position's text.
func (p Position) String() string { return string(p.Append(nil)) }

// Append appends the position's text.
func (p Position) Append(b []byte) []byte {
	return eventstore.AppendPosition(b, p.Timeline, p.Number)
}

// MarshalText is the position's text.
func (p Position) MarshalText() ([]byte, error) { return p.Append(nil), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Position) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePosition("position", string(b))
	return err
}

// ParsePosition reads a position's text; field is how the client calls it.
func ParsePosition(field, s string) (Position, error) {
	timeline, number, ok := eventstore.CutPosition(s)
	if !ok {
		return Position{}, domain.InvalidField{Field: field, Rule: "must be a position as replies give it"}
	}
	return Position{Timeline: timeline, Number: number}, nil
}

// PositionOf is an event's place.
func PositionOf(e *eventstore.RecordedEvent) Position {
	return Position{Timeline: e.Timeline, Number: e.Position}
}
