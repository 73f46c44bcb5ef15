package webhooks

import (
	"container/heap"
	"time"
)

// The schedule decides which webhook gets the next turn. An attempt to a target that does not answer lasts until its timeout.
// If such attempts could take every turn, a thousand such targets would hold up all other webhooks. So a webhook has a
// standing by what is known of its target. A webhook whose last attempt was answered at once may have any turn. Webhooks that
// were never tried, are slow or failed leave a quarter of the turns to others. Webhooks that failed have at most a quarter.
// The same shares hold for the turns of one host. Among webhooks of one standing the hosts take turns, and among the
// webhooks of one host the webhooks take turns.

// standing is what the last attempt of a webhook says of the target.
type standing uint8

const (
	proven standing = iota
	untried
	failing
	standings
)

// share is a number of turns, and how many of the turns are taken, by standing.
type share struct {
	most  int
	taken [standings]int
}

func (s *share) all() int { return s.taken[proven] + s.taken[untried] + s.taken[failing] }

// free says whether a webhook of a standing may have a turn. Each standing may have one turn in any case.
func (s *share) free(of standing) bool {
	others := s.taken[untried] + s.taken[failing]
	switch {
	case of != proven && others >= max(s.most-s.most/4, 1), of == failing && s.taken[failing] >= max(s.most/4, 1):
		return false
	}
	return s.all() < s.most
}

// host is the host and port of the target of webhooks that are ready or have a turn.
type host struct {
	share
	name  string
	ready [standings]fifo[*hook]
	ring  [standings]bool // the host is in the schedule's ring of that standing
}

// schedule has the webhooks that are ready, and the webhooks that wait until their pause ends.
type schedule struct {
	share
	perHost int
	hosts   map[string]*host
	ring    [standings]fifo[*host]
	waiting delayed
	timer   *time.Timer
}

func newSchedule(most, perHost int) schedule {
	return schedule{share: share{most: most}, perHost: perHost, hosts: make(map[string]*host)}
}

// add puts a webhook that is ready into its host's queue.
func (s *schedule) add(h *hook) {
	if h.queued {
		return
	}
	h.queued = true
	at := s.hosts[h.host]
	if at == nil {
		at = &host{share: share{most: s.perHost}, name: h.host}
		s.hosts[h.host] = at
	}
	at.ready[h.standing].push(h)
	s.offer(at, h.standing)
}

// offer puts a host that may have a turn into the ring.
func (s *schedule) offer(at *host, of standing) {
	if !at.ring[of] && at.ready[of].len() > 0 && at.free(of) {
		at.ring[of] = true
		s.ring[of].push(at)
	}
}

// next takes the webhook that gets the next turn; nil: no webhook may have a turn now.
func (s *schedule) next() *hook {
	for of := proven; of < standings; of++ {
		for s.ring[of].len() > 0 && s.free(of) {
			at := s.ring[of].pop()
			at.ring[of] = false
			var h *hook
			for h == nil && at.free(of) && at.ready[of].len() > 0 {
				h = at.ready[of].pop()
				if h.queued = false; h.state != ready || h.gone { // the webhook has changed since it was queued
					h = nil
				}
			}
			if h != nil {
				at.taken[of]++
				s.taken[of]++
			}
			s.offer(at, of)
			s.drop(at)
			if h != nil {
				return h
			}
		}
	}
	return nil
}

// end gives back the turn that a webhook of a host had with a standing.
func (s *schedule) end(name string, of standing) {
	at := s.hosts[name]
	at.taken[of]--
	s.taken[of]--
	for of := proven; of < standings; of++ {
		s.offer(at, of)
	}
	s.drop(at)
}

// drop removes a host that has no turn and no webhook in a queue.
func (s *schedule) drop(at *host) {
	if at.all() > 0 {
		return
	}
	for of := proven; of < standings; of++ {
		if at.ring[of] || at.ready[of].len() > 0 {
			return
		}
	}
	delete(s.hosts, at.name)
}

// wait lets a webhook wait until its pause ends.
func (s *schedule) wait(h *hook) { heap.Push(&s.waiting, h) }

// forget has a webhook wait no more. In its host's queue it is passed over later.
func (s *schedule) forget(h *hook) {
	if h.place >= 0 {
		heap.Remove(&s.waiting, h.place)
	}
}

// due takes a webhook that has waited long enough; nil: there is none.
func (s *schedule) due(now time.Time) *hook {
	if len(s.waiting) == 0 || s.waiting[0].until.After(now) {
		return nil
	}
	return heap.Pop(&s.waiting).(*hook)
}

// delayed is a heap of webhooks, by when they go on.
type delayed []*hook

func (q delayed) Len() int           { return len(q) }
func (q delayed) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q delayed) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *delayed) Push(x any) {
	h := x.(*hook)
	h.place = len(*q)
	*q = append(*q, h)
}

// Pop implements heap.Interface.
func (q *delayed) Pop() any {
	last := len(*q) - 1
	h := (*q)[last]
	(*q)[last], *q = nil, (*q)[:last]
	h.place = -1
	return h
}

// fifo is a queue.
type fifo[T any] struct{ items []T }

func (q *fifo[T]) len() int { return len(q.items) }
func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }
func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[0]
	q.items[0], q.items = zero, q.items[1:]
	if len(q.items) == 0 {
		q.items = nil
	}
	return v
}
