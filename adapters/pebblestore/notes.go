package pebblestore

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// Note is a small value that a replica keeps under a name, beside the events: it is no event, and only its newest value
// counts.
type Note struct {
	Name  string
	Value []byte // none: there is no note with this name
}

func noteKey(name string) []byte { return append([]byte{rangeNote, '/'}, name...) }

// note writes notes into the batch of a block.
func (c *commit) note(notes []Note) {
	for _, n := range notes {
		if len(n.Value) > 0 {
			c.set(noteKey(n.Name), n.Value)
		} else if err := c.batch.Delete(noteKey(n.Name), nil); err != nil {
			c.err = err
		}
	}
}

// Notes are the notes whose names begin with a prefix, in the order of their names.
func (s *Store) Notes(prefix string) (found []Note, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: noteKey(prefix), UpperBound: after(rangeNote)})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && bytes.HasPrefix(it.Key(), noteKey(prefix)); ok = it.Next() {
		found = append(found, Note{Name: string(it.Key()[2:]), Value: bytes.Clone(it.Value())})
	}
	return found, it.Close()
}
