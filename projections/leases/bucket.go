package leases

// bucket has the leases that Sweep looks at in the same tick. A start puts all leases of one ttl into one bucket, so a bucket grows by pages:
// a slice would be copied a dozen times.
type bucket [][]*lease

const perPage = 1024

func (b bucket) with(l *lease) bucket {
	if n := len(b); n > 0 && len(b[n-1]) < perPage {
		b[n-1] = append(b[n-1], l)
		return b
	}
	return append(b, []*lease{l})
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
