package eventstore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// AppendCanonical appends the event's canonical form: one line of JSON, with its fields in a fixed order, and without the
// position, because another store may give another position. The Merkle tree is over these bytes, and exports consist of
// them, so anyone can compute the tree from an export.
func AppendCanonical(b []byte, e *RecordedEvent) []byte {
	b = append(b, '{')
	return appendFields(b, e)
}

// AppendJSON appends the canonical form with the position as its first field: its text, with the timeline on which the
// event was recorded.
func AppendJSON(b []byte, e *RecordedEvent) []byte {
	b = append(b, `{"position":"`...)
	b = AppendPosition(b, e.Timeline, e.Position)
	b = append(b, `",`...)
	return appendFields(b, e)
}

func appendFields(b []byte, e *RecordedEvent) []byte {
	b = append(b, `"id":"`...)
	b = AppendID(b, e.ID)
	b = append(b, `","stream":`...)
	b = AppendString(b, string(e.Stream))
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, uint64(e.Revision), 10)
	b = append(b, `,"recorded_at":"`...)
	b = e.RecordedAt.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","type":`...)
	b = AppendString(b, e.Type)
	b = appendDocument(b, "data", e.Data)
	b = appendDocument(b, "metadata", e.Metadata)
	return append(b, '}')
}

// AppendID appends the text of an id.
func AppendID(b []byte, id uuid.UUID) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// appendDocument appends a field with a JSON value. A value of another program that is not JSON is appended as base64.
func appendDocument(b []byte, name string, document []byte) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	if !validJSON(document) {
		b = append(b[:len(b)-2], `_base64":"`...)
		return append(base64.StdEncoding.AppendEncode(b, document), '"')
	}
	if bytes.IndexByte(document, '\n') < 0 {
		return append(b, document...)
	}
	var line bytes.Buffer
	_ = json.Compact(&line, document) // valid, as seen above
	return append(b, line.Bytes()...)
}

// AppendString appends a JSON string. It is fast for strings without escapes, as nearly all stream names and types are.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string always has a JSON form
			}
			return append(b, quoted...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// ParseJSON reads what AppendCanonical or AppendJSON wrote.
func ParseJSON(line []byte) (RecordedEvent, error) {
	var form struct {
		Position       *string         `json:"position"` // the canonical form has none
		ID             uuid.UUID       `json:"id"`
		Stream         StreamName      `json:"stream"`
		Revision       Revision        `json:"revision"`
		RecordedAt     time.Time       `json:"recorded_at"`
		Type           string          `json:"type"`
		Data           json.RawMessage `json:"data"`
		DataBase64     []byte          `json:"data_base64"`
		Metadata       json.RawMessage `json:"metadata"`
		MetadataBase64 []byte          `json:"metadata_base64"`
	}
	if err := json.Unmarshal(line, &form); err != nil {
		return RecordedEvent{}, fmt.Errorf("event: %w", err)
	}
	e := RecordedEvent{
		EventData: EventData{ID: form.ID, Type: form.Type, Data: form.Data, Metadata: form.Metadata},
		Stream:    form.Stream, Revision: form.Revision, RecordedAt: form.RecordedAt.UTC(),
	}
	if form.Position != nil {
		var ok bool
		if e.Timeline, e.Position, ok = CutPosition(*form.Position); !ok {
			return RecordedEvent{}, fmt.Errorf("event: %q is no position", *form.Position)
		}
	}
	if form.Data == nil {
		e.Data = form.DataBase64
	}
	if form.Metadata == nil {
		e.Metadata = form.MetadataBase64
	}
	return e, nil
}
