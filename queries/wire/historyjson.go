package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// AppendJSON appends what json.Marshal makes of the page, several times as fast. REQUIRES: the data of each entry is valid JSON.
func (p *HistoryPage) AppendJSON(b []byte) (_ []byte, err error) {
	b = append(b, `{"position":"`...)
	b = append(p.Position.Append(b), `","entries":`...)
	if p.Entries == nil {
		b = append(b, "null"...)
	} else if b, err = appendList(b, p.Entries, (*HistoryEntry).appendJSON); err != nil {
		return nil, err
	}
	b = appendText(b, `,"next":`, p.Next)
	if len(p.Heartbeats) > 0 {
		if b, err = appendList(append(b, `,"heartbeats":`...), p.Heartbeats, (*HeartbeatHour).appendJSON); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (e *HistoryEntry) appendJSON(b []byte) (_ []byte, err error) {
	b = eventstore.AppendID(append(b, `{"event_id":"`...), e.EventID)
	b = e.Position.Append(append(b, `","position":"`...))
	b = strconv.AppendUint(append(b, `","revision":`...), uint64(e.Revision), 10)
	if b, err = appendTime(append(b, `,"recorded_at":`...), e.RecordedAt); err != nil {
		return nil, err
	}
	b = appendText(b, `,"namespace":`, e.Namespace)
	b = appendText(b, `,"service":`, e.Service)
	b = appendText(b, `,"id":`, e.ID)
	b = eventstore.AppendString(append(b, `,"type":`...), e.Type)
	b = eventstore.AppendString(append(b, `,"summary":`...), e.Summary)
	b = appendText(b, `,"actor":`, e.Actor)
	b = appendText(b, `,"source":`, e.Source)
	b = appendText(b, `,"via":`, e.Via)
	b = appendText(b, `,"request_id":`, e.RequestID)
	b = appendText(b, `,"reverts":`, e.Reverts)
	b = appendText(b, `,"reason":`, e.Reason)
	if len(e.Changes) > 0 {
		if b, err = appendList(append(b, `,"changes":`...), e.Changes, (*FieldChange).appendJSON); err != nil {
			return nil, err
		}
	}
	b = strconv.AppendInt(append(b, `,"leaf":`...), e.Leaf, 10)
	b = append(b, `,"data":`...)
	if asWritten(e.Data) {
		b = append(b, e.Data...)
	} else if b, err = appendAny(b, e.Data); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (c *FieldChange) appendJSON(b []byte) (_ []byte, err error) {
	b = eventstore.AppendString(append(b, `{"field":`...), c.Field)
	if b, err = appendAny(append(b, `,"from":`...), c.From); err != nil {
		return nil, err
	}
	if b, err = appendAny(append(b, `,"to":`...), c.To); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (h *HeartbeatHour) appendJSON(b []byte) (_ []byte, err error) {
	if b, err = appendTime(append(b, `{"hour":`...), h.Hour); err != nil {
		return nil, err
	}
	b = strconv.AppendUint(append(b, `,"received":`...), h.Received, 10)
	b = strconv.AppendUint(append(b, `,"expected":`...), h.Expected, 10)
	b = eventstore.AppendString(append(b, `,"longest_gap":`...), h.LongestGap.String())
	if b, err = appendTime(append(b, `,"last":`...), h.Last); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func appendList[T any](b []byte, list []T, item func(*T, []byte) ([]byte, error)) (_ []byte, err error) {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = item(&list[i], b); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendText appends a field that is left out where it is empty.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return eventstore.AppendString(append(b, name...), text)
}

func appendAny(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case string:
		return eventstore.AppendString(b, v), nil
	case domain.Status:
		return eventstore.AppendString(b, string(v)), nil
	case domain.Traffic:
		return eventstore.AppendString(b, string(v)), nil
	}
	made, err := json.Marshal(v)
	return append(b, made...), err
}

// appendTime appends a time of UTC in a year of four digits itself, and leaves other times to the library, which refuses some.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	if year := t.Year(); t.Location() != time.UTC || year < 0 || year > 9999 {
		return appendAny(b, t)
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"'), nil
}

// asWritten says whether json.Marshal leaves valid JSON as it is. It may say false of such JSON, too.
func asWritten(data []byte) bool {
	return len(data) > 0 && bytes.IndexByte(data, '<') < 0 && bytes.IndexByte(data, '>') < 0 && bytes.IndexByte(data, '&') < 0 && bytes.IndexByte(data, 0xe2) < 0 && !spaced(data)
}

// spaced says whether valid JSON has white space outside its texts.
func spaced(data []byte) bool {
	for {
		text := bytes.IndexByte(data, '"')
		if text < 0 {
			text = len(data)
		}
		for _, c := range data[:text] {
			if c <= ' ' {
				return true
			}
		}
		if text == len(data) {
			return false
		}
		data = data[text+1:]
		for { // to the end of the text
			end := bytes.IndexByte(data, '"')
			if end < 0 {
				return true // not valid
			}
			escapes := 0
			for escapes < end && data[end-1-escapes] == '\\' {
				escapes++
			}
			data = data[end+1:]
			if escapes%2 == 0 {
				break
			}
		}
	}
}
