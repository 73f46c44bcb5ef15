package history

import (
	"bytes"
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/plain"
)

// plainMetadata is metadata in the form that package plain reads: an object of texts and whole numbers that begins with an actor, as
// Rollcall writes it. The zero value is of none.
type plainMetadata struct {
	text     []byte
	actor    string
	from, to int // of the last text in text that is not the actor, without its quotation marks; both 0: there is none
}

// read reads metadata. false: it is in another form. Metadata that is as the one before but for its last text, as another request's, is not
// read again.
func (m *plainMetadata) read(metadata []byte) bool {
	if len(metadata) > 0 && len(metadata) == len(m.text) && bytes.Equal(metadata[:m.from], m.text[:m.from]) &&
		bytes.Equal(metadata[m.to:], m.text[m.to:]) && plain.Span(metadata[m.from:m.to]) == m.to-m.from {
		return true
	}
	from, to := 0, 0
	p := plain.Reader{Data: metadata}
	p.Need(`{"actor":`)
	actor := p.Text()
	for !p.Failed && p.Literal(",") {
		p.Text()
		p.Need(":")
		if p.TextComes() {
			text := p.Text()
			to = len(metadata) - p.Left() - 1
			from = to - len(text)
		} else {
			p.Number(1<<64 - 1)
		}
	}
	if !p.Ended() {
		return false
	}
	m.text, m.from, m.to = append(m.text[:0], metadata...), from, to
	if m.actor != string(actor) {
		m.actor = string(actor)
	}
	return true
}

var actorField = []byte(`{"actor":"`)

// actorOf reads the actor at the beginning of the metadata, where Rollcall writes it. If it is not there, the metadata is
// decoded. ok is false for metadata of another program that cannot be decoded.
func actorOf(metadata []byte) (actor string, ok bool) {
	if rest, found := bytes.CutPrefix(metadata, actorField); found {
		if end := bytes.IndexByte(rest, '"'); end >= 0 && bytes.IndexByte(rest[:end], '\\') < 0 {
			return string(rest[:end]), true
		}
	}
	var m domain.Metadata
	err := json.Unmarshal(metadata, &m)
	return m.Actor, err == nil
}
