package pebblestore

import (
	"encoding/binary"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// names gives one reader the names of heartbeat streams. A reader that needs many reads those of neighbouring numbers together: a name
// that is read alone costs a look into the tables of the engine, and with more streams than keptNames nearly every heartbeat would need one
// (ADR 139). Only one goroutine uses it. The zero value, with a store, is ready.
type names struct {
	store *Store
	alone int                  // names that were looked up alone
	pages map[uint32]*namePage // by number/namesPerPage
	bytes int                  // of all pages
}

// namePage has the names of neighbouring numbers, one behind the other in text. A name of a stream that is newer than the page is empty.
type namePage struct {
	text string
	ends [namesPerPage]uint32
}

const (
	namesPerPage = 256
	namesAlone   = 256      // a reader that needs no more names reads no page
	mostNames    = 64 << 20 // bytes of pages that a reader keeps, those of a million streams
	pageOverhead = namesPerPage*4 + 64
)

// of is the name of the stream with a number.
func (n *names) of(number uint32) (eventstore.StreamName, error) {
	if p := n.pages[number/namesPerPage]; p != nil {
		if name := p.name(number % namesPerPage); name != "" {
			return name, nil
		}
		return n.store.streamOf(number)
	}
	if name := n.store.numbers.name(number); name != "" {
		return name, nil
	}
	if n.alone < namesAlone {
		n.alone++
		return n.store.streamOf(number)
	}
	page, err := n.store.readNames(number / namesPerPage)
	if err != nil {
		return n.store.streamOf(number) // a damaged block of the engine has other names than this one, too
	}
	n.keep(number/namesPerPage, page)
	if name := page.name(number % namesPerPage); name != "" {
		return name, nil
	}
	return "", errDamaged
}

// keep keeps a page, and lets go of others if there are too many bytes.
func (n *names) keep(number uint32, page *namePage) {
	for other, p := range n.pages {
		if n.bytes <= mostNames {
			break
		}
		n.bytes -= len(p.text) + pageOverhead
		delete(n.pages, other)
	}
	if n.pages == nil {
		n.pages = make(map[uint32]*namePage)
	}
	n.pages[number] = page
	n.bytes += len(page.text) + pageOverhead
}

func (p *namePage) name(i uint32) eventstore.StreamName {
	begin := uint32(0)
	if i > 0 {
		begin = p.ends[i-1]
	}
	return eventstore.StreamName(p.text[begin:p.ends[i]])
}

// readNames reads a page of names. REQUIRES: the store was entered.
func (s *Store) readNames(page uint32) (*namePage, error) {
	first := page * namesPerPage
	end := []byte{rangeName, '/' + 1}
	if next := first + namesPerPage; next > first {
		end = number32(rangeName, next)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: number32(rangeName, first), UpperBound: end})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var text strings.Builder
	p, next := new(namePage), uint32(0)
	fill := func(upTo uint32) { // those that have no name
		for ; next < upTo; next++ {
			p.ends[next] = uint32(text.Len())
		}
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		fill(binary.BigEndian.Uint32(it.Key()[2:]) - first)
		text.Write(v)
		fill(next + 1)
	}
	fill(namesPerPage)
	p.text = text.String()
	return p, it.Error()
}
