package history

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// term is a name by which entries are found: an instance, a service, a namespace, an actor or a type. prefix says which.
type term struct {
	prefix byte
	name   string
}

// writePostings writes, for each term, a list of the positions of the term's entries in this batch. The key has the last
// position. Many entries share a list, so the indexes take little space. A list never changes.
func (h *History) writePostings(b *pebble.Batch) error {
	for t, positions := range h.postings {
		last := positions[len(positions)-1]
		h.scratch = binary.AppendUvarint(h.scratch[:0], uint64(last-positions[0]))
		for i := 1; i < len(positions); i++ {
			h.scratch = binary.AppendUvarint(h.scratch, uint64(positions[i]-positions[i-1]))
		}
		if err := b.Set(indexKey(t.prefix, indexName(t.name), uint64(last)), h.scratch, nil); err != nil {
			return err
		}
	}
	clear(h.postings)
	return nil
}

// readPostings decodes a list that writePostings wrote. The positions are in order, and the last is the key's.
func readPostings(last eventstore.Position, v []byte, into []eventstore.Position) ([]eventstore.Position, error) {
	into = into[:0]
	span, n := binary.Uvarint(v)
	if n <= 0 || span > uint64(last) {
		return nil, fmt.Errorf("history: the index at position %d is damaged", last)
	}
	p := last - eventstore.Position(span)
	into = append(into, p)
	for v = v[n:]; len(v) > 0; v = v[n:] {
		var step uint64
		step, n = binary.Uvarint(v)
		if n <= 0 {
			return nil, fmt.Errorf("history: the index at position %d is damaged", last)
		}
		p += eventstore.Position(step)
		into = append(into, p)
	}
	return into, nil
}
