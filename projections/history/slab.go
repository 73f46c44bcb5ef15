package history

// slab gives memory for items, many at once. The zero value is ready.
type slab[T any] struct{ free []T }

// mostAtOnce is for how many items memory is taken at most at once.
const mostAtOnce = 256

// next is memory for an item, when there are so many already.
func (s *slab[T]) next(items int) *T {
	if len(s.free) == 0 {
		s.free = make([]T, min(max(1, items), mostAtOnce))
	}
	item := &s.free[0]
	s.free = s.free[1:]
	return item
}
