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

	"github.com/rollcall-registry/rollcall/domain/plain"
)

// AppendCanonical appends the event's canonical form: one line of JSON, with its fields in a fixed order, and without the
// position, because another store may give another position. The Merkle tree is over these bytes, and exports consist of
// them, so anyone can compute the tree from an export.
func AppendCanonical(b []byte, e *RecordedEvent) []byte {
	return AppendCanonicalOf(b, e, Checked{})
}

// Checked says what of an event is known to be JSON in one line, so that it is not looked through again.
type Checked struct{ Data, Metadata bool }

// AppendCanonicalOf is AppendCanonical of an event of which something is known. REQUIRES: what is checked is JSON, without a line break.
func AppendCanonicalOf(b []byte, e *RecordedEvent, is Checked) []byte {
	b = append(b, '{')
	return appendFields(b, e, is)
}

// AppendJSON appends the canonical form with the position as its first field: its text, with the timeline on which the
// event was recorded.
func AppendJSON(b []byte, e *RecordedEvent) []byte {
	b = append(b, `{"position":"`...)
	b = AppendPosition(b, e.Timeline, e.Position)
	b = append(b, `",`...)
	return appendFields(b, e, Checked{})
}

func appendFields(b []byte, e *RecordedEvent, is Checked) []byte {
	b = append(b, `"id":"`...)
	b = AppendID(b, e.ID)
	b = append(b, `","stream":`...)
	b = AppendString(b, string(e.Stream))
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, uint64(e.Revision), 10)
	b = append(b, `,"recorded_at":"`...)
	b = appendTime(b, e.RecordedAt)
	b = append(b, `","type":`...)
	b = AppendString(b, e.Type)
	b = appendDocument(b, "data", e.Data, is.Data)
	b = appendDocument(b, "metadata", e.Metadata, is.Metadata)
	return append(b, '}')
}

// appendTime appends a time as RFC 3339 has it. It is faster than the library for times in UTC, as all recorded times are.
func appendTime(b []byte, at time.Time) []byte {
	year, month, day := at.Date()
	if at.Location() != time.UTC || year < 1000 || year > 9999 {
		return at.AppendFormat(b, time.RFC3339Nano)
	}
	hour, minute, second := at.Clock()
	two := func(n int, then byte) { b = append(b, byte('0'+n/10), byte('0'+n%10), then) }
	b = append(b, byte('0'+year/1000), byte('0'+year/100%10))
	two(year%100, '-')
	two(int(month), '-')
	two(day, 'T')
	two(hour, ':')
	two(minute, ':')
	two(second, '.')
	begin, rest := len(b), at.Nanosecond()
	for unit := 100_000_000; rest > 0; unit /= 10 {
		b = append(b, byte('0'+rest/unit))
		rest %= unit
	}
	if len(b) == begin {
		b = b[:begin-1]
	}
	return append(b, 'Z')
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
func appendDocument(b []byte, name string, document []byte, checked bool) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	if checked {
		return append(b, document...)
	}
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
	begin := len(b)
	b = append(append(b, '"'), s...)
	text := b[begin+1:]
	if plain.Span(text) == len(text) && bytes.IndexByte(text, '<') < 0 && bytes.IndexByte(text, '>') < 0 && bytes.IndexByte(text, '&') < 0 {
		return append(b, '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return append(b[:begin], quoted...)
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
