package history

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func parseEntry(s stored) (e Entry, err error) {
	if e.RecordedEvent, err = parseEvent(s); err != nil {
		return e, err
	}
	e.Leaf = s.leaf
	if !cutMetadata(e.RecordedEvent.Metadata, &e.Metadata) {
		e.Metadata = domain.Metadata{}
		_ = json.Unmarshal(e.RecordedEvent.Metadata, &e.Metadata) // another program's metadata may be anything
	}
	return e, nil
}

// parseEvent is the event of an entry.
func parseEvent(s stored) (e eventstore.RecordedEvent, err error) {
	e, ok := cutEvent(s.canonical)
	if !ok {
		e, err = eventstore.ParseJSON(s.canonical)
	}
	e.Position = s.position
	return e, err
}

// cutEvent cuts a canonical event into its fields. It is much faster than decoding the event. ok is false where the event
// has to be decoded: a text has escapes, or the event's documents cannot be told apart.
func cutEvent(b []byte) (e eventstore.RecordedEvent, ok bool) {
	// The fields up to data are texts and numbers of the registry. Data ends at the last field metadata, unless the
	// metadata of another program has such a field, too; then data is no JSON.
	head, rest, ok := bytes.Cut(b, []byte(`,"data":`))
	at := bytes.LastIndex(rest, []byte(`,"metadata":`))
	if !ok || at < 0 || bytes.IndexByte(head, '\\') >= 0 {
		return e, false
	}
	data, metadata := rest[:at], rest[at+len(`,"metadata":`):len(rest)-1]
	id, head, ok := cutField(head, `{"id":"`, `"`)
	if !ok {
		return e, false
	}
	stream, head, ok := cutField(head, `,"stream":"`, `"`)
	if !ok {
		return e, false
	}
	revision, head, ok := cutField(head, `,"revision":`, `,`)
	if !ok {
		return e, false
	}
	recorded, head, ok := cutField(head, `"recorded_at":"`, `"`)
	if !ok {
		return e, false
	}
	kind, head, ok := cutField(head, `,"type":"`, `"`)
	if !ok || len(head) > 0 || bytes.Contains(data, []byte(`"metadata":`)) && !json.Valid(data) {
		return e, false
	}
	number, err := strconv.ParseUint(string(revision), 10, 64)
	if err != nil {
		return e, false
	}
	if e.RecordedAt, err = time.Parse(time.RFC3339Nano, string(recorded)); err != nil {
		return e, false
	}
	if e.ID, err = uuid.ParseBytes(id); err != nil {
		return e, false
	}
	e.Stream, e.Revision, e.Type = eventstore.StreamName(stream), eventstore.Revision(number), typeOf(kind)
	documents := append(append(make([]byte, 0, len(data)+len(metadata)), data...), metadata...)
	e.Data, e.Metadata = documents[:len(data):len(data)], documents[len(data):]
	return e, true
}

// typeOf is the name of a type, which takes no memory for the types of Rollcall.
func typeOf(name []byte) string {
	for _, known := range domain.LifecycleTypes {
		if known == string(name) {
			return known
		}
	}
	return string(name)
}

// cutField is what stands between a field's beginning and its end, and what follows.
func cutField(b []byte, begin, end string) (field, rest []byte, ok bool) {
	if _, b, ok = bytes.Cut(b, []byte(begin)); !ok {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(end))
}

// cutMetadata reads metadata as Rollcall writes it. It is much faster than decoding. ok is false where the metadata has to be
// decoded: a text has escapes, or there is a field that Rollcall does not write.
func cutMetadata(metadata []byte, m *domain.Metadata) (ok bool) {
	if bytes.IndexByte(metadata, '\\') >= 0 || !utf8.Valid(metadata) {
		return false
	}
	b, ok := strings.CutPrefix(string(metadata), `{"`) // the fields are parts of one text
	for ok {
		var name, value string
		if name, b, ok = strings.Cut(b, `":`); !ok {
			return false
		}
		if name == "schema" {
			if value, ok = strings.CutSuffix(b, "}"); !ok {
				return false // it is not the last field
			}
			schema, err := strconv.Atoi(value)
			m.Schema = schema
			return err == nil
		}
		if b, ok = strings.CutPrefix(b, `"`); !ok {
			return false
		}
		if value, b, ok = strings.Cut(b, `"`); !ok {
			return false
		}
		field := metadataField(m, name)
		if field == nil {
			return false
		}
		*field = value
		if b == "}" {
			return true
		}
		b, ok = strings.CutPrefix(b, `,"`)
	}
	return false
}

func metadataField(m *domain.Metadata, name string) *string {
	switch name {
	case "actor":
		return &m.Actor
	case "source":
		return &m.Source
	case "via":
		return &m.Via
	case "request_id":
		return &m.RequestID
	case "reverts":
		return &m.Reverts
	case "reason":
		return &m.Reason
	case "forced":
		return &m.Forced
	}
	return nil
}
