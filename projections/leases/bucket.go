package leases

// bucket has the leases that Sweep looks at in the same tick. A start puts all leases of one ttl into one bucket, so a bucket grows by pages:
// a slice would be copied a dozen times. The first page grows, and each further page is made as large as it gets.
type bucket [][]*lease

const perPage = 1024

func (b bucket) with(l *lease) bucket {
	n := len(b)
	switch {
	case n == 0:
		return append(b, []*lease{l})
	case len(b[n-1]) == perPage:
		return append(b, append(make([]*lease, 0, perPage), l))
	case len(b[n-1]) == perPage/2: // append would take more than a page
		b[n-1] = append(make([]*lease, 0, perPage), b[n-1]...)
	}
	b[n-1] = append(b[n-1], l)
	return b
}

func (b bucket) all(yield func(*lease) bool) {
	for _, page := range b {
		for _, l := range page {
			if !yield(l) {
				return
			}
		}
	}
}
