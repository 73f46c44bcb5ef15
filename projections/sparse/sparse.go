// Package sparse has lists and tables of pointers whose memory depends on the number of their items: not on the largest of
// their numbers, and not on their keys.
package sparse

// size is the number of items on a page. A page takes 2 KiB, with 8 bytes that the runtime puts before it.
const size = 254

// List has pointers by number. The zero value is empty. REQUIRES: one goroutine at a time calls its methods.
type List[T any] struct{ pages []*page[T] }

type page[T any] struct {
	used int // number of items that are not nil
	at   [size]*T
}

// At is the item of a number; nil: there is none.
func (l *List[T]) At(number uint32) *T {
	if n := int(number / size); n < len(l.pages) {
		if p := l.pages[n]; p != nil {
			return p.at[number%size]
		}
	}
	return nil
}

// Set sets the item of a number; nil removes the item.
func (l *List[T]) Set(number uint32, to *T) {
	n := int(number / size)
	if n >= len(l.pages) {
		if to == nil {
			return
		}
		l.pages = append(l.pages, make([]*page[T], n+1-len(l.pages))...)
	}
	p := l.pages[n]
	if p == nil {
		if to == nil {
			return
		}
		p = new(page[T])
		l.pages[n] = p
	}
	item := &p.at[number%size]
	if *item != nil {
		p.used--
	}
	*item = to
	if to != nil {
		p.used++
	}
	if p.used == 0 {
		l.pages[n] = nil
	}
}
