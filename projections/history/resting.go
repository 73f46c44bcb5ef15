package history

import (
	"maps"

	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// resting has the sums of instances whose summaries are on disk, but for those in their first hour, so that the next heartbeat of each needs neither the disk nor a summary
// that waits for it (ADR 114). A sum takes 32 bytes, a summary with its name and its places in the tables 110.
//
// INVARIANT: a sum that take gives is what the disk has of the instance's newest hour. An instance may have got a summary by its name
// alone, with a registration, and its sum here is older then. The next heartbeat drops the sum if the summary is still there, and doubted
// has the instance if it is not.
type resting struct {
	pages   sparse.List[restingPage] // by number/restingPerPage
	size    int                      // number of pages up to the last one
	doubted map[uint32]int32         // by the hashes of names: the hour up to which sums are not to be trusted
}

const restingPerPage = 32

// restingPage is 1,024 bytes, into which the collector does not look.
type restingPage [restingPerPage]restingSum

// restingSum is a sum of a heartbeat stream's number. Its last is 0 if there is none.
type restingSum struct {
	sum
	hash uint32 // of the name
}

// put keeps the sum of a summary. REQUIRES: the summary has a number, and is on disk.
func (r *resting) put(s *summary) {
	n := s.number / restingPerPage
	p := r.pages.At(n)
	if p == nil {
		p = new(restingPage)
		r.pages.Set(n, p)
		r.size = max(r.size, int(n)+1)
	}
	p[s.number%restingPerPage] = restingSum{s.sum, s.hash}
}

// take gives the sum of a number, and keeps it no longer. false: there is none of that name.
func (r *resting) take(number, hash uint32) (sum, bool) {
	p := r.pages.At(number / restingPerPage)
	if p == nil {
		return sum{}, false
	}
	kept := p[number%restingPerPage]
	p[number%restingPerPage] = restingSum{}
	if until, ok := r.doubted[hash]; ok && kept.hour <= until {
		return sum{}, false
	}
	return kept.sum, kept.last != 0 && kept.hash == hash
}

// doubt notes that a summary was dropped of an instance that may have an older sum.
func (r *resting) doubt(s *summary) {
	if r.doubted == nil {
		r.doubted = make(map[uint32]int32)
	}
	r.doubted[s.hash] = max(r.doubted[s.hash], s.hour)
}

// drop drops the sums of hours before an hour.
func (r *resting) drop(before int32) {
	maps.DeleteFunc(r.doubted, func(_ uint32, hour int32) bool { return hour < before })
	for n := range r.size {
		p := r.pages.At(uint32(n))
		if p == nil {
			continue
		}
		kept := false
		for i := range p {
			if p[i].hour < before {
				p[i] = restingSum{}
			}
			kept = kept || p[i].last != 0
		}
		if !kept {
			r.pages.Set(uint32(n), nil)
		}
	}
}
