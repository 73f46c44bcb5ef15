// Package sparse has a list whose memory follows what is in it, not how far its numbers go.
package sparse

// size is how many numbers a page is of.
const size = 256

// List holds pointers by number. The zero value holds none. Its methods must not be called at once.
type List[T any] struct{ pages []*page[T] }

type page[T any] struct {
	used int // number of at that are not nil
	at   [size]*T
}

// At is what the number stands for, or nil.
func (l *List[T]) At(number uint32) *T {
	if n := int(number / size); n < len(l.pages) {
		if p := l.pages[n]; p != nil {
			return p.at[number%size]
		}
	}
	return nil
}

// Set has a number stand for something, or with nil for nothing.
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
	place := &p.at[number%size]
	if *place != nil {
		p.used--
	}
	if *place = to; to != nil {
		p.used++
	}
	if p.used == 0 {
		l.pages[n] = nil
	}
}
