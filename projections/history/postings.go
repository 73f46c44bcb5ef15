package history

import (
	"encoding/binary"
	"fmt"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// term is a name by which entries are found: an instance, a service, a namespace, an actor or a type. prefix says which.
type term struct {
	prefix byte
	name   string
}

// clean is the term as the index has it: it has no zero byte.
func (t term) clean() term {
	t.name = indexName(t.name)
	return t
}

// appendKey appends the key of a list of a clean term with a number.
func (t term) appendKey(b []byte, n uint64) []byte {
	b = append(b, t.prefix)
	b = append(b, t.name...)
	return binary.BigEndian.AppendUint64(append(b, 0), n)
}

// key is appendKey in memory of its own.
func (t term) key(n uint64) []byte { return t.appendKey(make([]byte, 0, len(t.name)+10), n) }

// isLife says whether a type of events begins, changes or ends what an instance is registered with. Such events are marked in
// the list of their instance, so that they are found among however many changes of health.
func isLife(eventType string) bool {
	switch eventType {
	case domain.TypeInstanceRegistered, domain.TypeInstanceUpdated, domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		return true
	}
	return false
}

// marked is a position in the list of an instance: twice the position, and one more for an event of isLife.
func marked(p eventstore.Position, life bool) eventstore.Position {
	if life {
		return p<<1 | 1
	}
	return p << 1
}

// unmarked turns the list of an instance into positions, in place. lives leaves out the events that are not of isLife.
func unmarked(list []eventstore.Position, lives bool) []eventstore.Position {
	positions := list[:0]
	for _, m := range list {
		if !lives || m&1 == 1 {
			positions = append(positions, m>>1)
		}
	}
	return positions
}

// write writes, for each term, a list of the positions of the term's young entries. The key has the last position. Many
// entries share a list, so the indexes take little space. A list never changes.
func (l *lists) write(b batch) error {
	var v, key []byte
	return l.each(func(t term, list []eventstore.Position) error {
		bits := 0
		if t.prefix == rangeInstance {
			bits = 1
		}
		number := func(length, p eventstore.Position) uint64 { // a length and, in its lowest bit, the mark of a position
			return uint64(length<<bits | p&(1<<bits-1))
		}
		first, last := list[0], list[len(list)-1]
		v = binary.AppendUvarint(v[:0], uint64(len(list)))
		v = binary.AppendUvarint(v, number(last>>bits-first>>bits, first))
		for i := 1; i < len(list); i++ {
			v = binary.AppendUvarint(v, number(list[i]>>bits-list[i-1]>>bits, list[i]))
		}
		key = t.appendKey(key[:0], uint64(last>>bits))
		return b.Set(key, v, nil)
	})
}

// readList decodes a list that lists.write wrote. The positions are in order, and the last is the key's. The list of an instance
// has marks.
func readList(prefix byte, last eventstore.Position, v []byte, into []eventstore.Position) ([]eventstore.Position, error) {
	bits := 0
	if prefix == rangeInstance {
		bits = 1
	}
	into = into[:0]
	r := packed.Reader{B: v}
	n, span := r.Uvarint(), r.Uvarint()
	damaged := func() error { return fmt.Errorf("history: the index at position %d is damaged", last) }
	if n == 0 || n > uint64(len(v)) || span>>bits > uint64(last) {
		return nil, damaged()
	}
	p := uint64(last) - span>>bits
	into = append(into, eventstore.Position(p<<bits|span&(1<<bits-1)))
	for range n - 1 {
		step := r.Uvarint()
		p += step >> bits
		into = append(into, eventstore.Position(p<<bits|step&(1<<bits-1)))
	}
	if r.Failed || len(r.B) > 0 || p != uint64(last) {
		return nil, damaged()
	}
	return into, nil
}
