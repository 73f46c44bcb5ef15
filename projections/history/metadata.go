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
	text  []byte
	actor string
}

// read reads metadata. false: it is in another form. Metadata that is the same as the one before, as in a batch of commands, is not read
// again.
func (m *plainMetadata) read(metadata []byte) bool {
	if len(metadata) > 0 && bytes.Equal(metadata, m.text) {
		return true
	}
	p := plain.Reader{Data: metadata}
	p.Need(`{"actor":`)
	actor := p.Text()
	for !p.Failed && p.Literal(",") {
		p.Text()
		p.Need(":")
		if p.TextComes() {
			p.Text()
		} else {
			p.Number(1<<64 - 1)
		}
	}
	if !p.Ended() {
		return false
	}
	m.text = append(m.text[:0], metadata...)
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
