package pick

import (
	"math"
	"slices"
)

// buckets is how many buckets a ring has. It is the same in every process, so that all agree on the owner of a key.
const buckets = 1 << 14

// ring is weighted rendezvous hashing, computed ahead: keys fall into buckets, and each bucket belongs to the endpoint with
// the highest score for the bucket. The score of an endpoint with the weight w is w/-ln(u), where u is a number between 0
// and 1 made of the bucket and the endpoint. A ring never changes once it is in a table.
type ring struct {
	endpoints []*Endpoint
	owners    []*Endpoint // of the buckets
	scores    []float64   // of the owners
}

// owner is the endpoint to which a hashed key belongs. REQUIRES: there is an endpoint.
func (r *ring) owner(key uint64) *Endpoint { return r.owners[mix(key)%buckets] }

// with is the ring of other endpoints. Only buckets of endpoints that left, and buckets that new endpoints win, get
// another owner: the time does not depend on the product of buckets and endpoints. r may be nil.
func (r *ring) with(endpoints []*Endpoint) *ring {
	next := &ring{endpoints: endpoints, owners: make([]*Endpoint, buckets), scores: make([]float64, buckets)}
	stays, comes := next.compare(r)
	if len(stays) > 0 {
		copy(next.scores, r.scores)
		for b, before := range r.owners {
			if next.owners[b] = before.next; before.next == nil {
				next.scores[b] = 0
				for _, e := range stays {
					next.offer(b, e)
				}
			}
		}
	}
	for _, e := range comes {
		for b := range next.owners {
			next.offer(b, e)
		}
	}
	return next
}

// compare finds the endpoints that were in the ring before, with the same weight, and the others. It links the endpoints
// of the ring before with those that take their place.
func (r *ring) compare(before *ring) (stays, comes []*Endpoint) {
	if before == nil {
		return nil, r.endpoints
	}
	byHash := make(map[uint64]*Endpoint, len(before.endpoints))
	for _, e := range before.endpoints {
		e.next = nil
		byHash[e.hash] = e
	}
	for _, e := range r.endpoints {
		if old := byHash[e.hash]; old != nil && old.Instance.Weight == e.Instance.Weight && old.next == nil {
			old.next = e
			stays = append(stays, e)
		} else {
			comes = append(comes, e)
		}
	}
	return slices.Clip(stays), comes
}

// offer gives a bucket to an endpoint that has a higher score than the owner. As -ln(u) is at least 1-u, most logarithms
// need not be computed.
func (r *ring) offer(b int, e *Endpoint) {
	weight := float64(max(e.Instance.Weight, 1))
	u := (float64(mix(e.hash^(uint64(b)+1)*0x9e3779b97f4a7c15)>>11) + 0.5) / (1 << 53)
	if weight <= r.scores[b]*(1-u) {
		return
	}
	if score := weight / -math.Log(u); score > r.scores[b] {
		r.scores[b], r.owners[b] = score, e
	}
}
