package history

import (
	"context"
	"errors"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// scan goes through the positions that the indexes pick for a query, in the query's order, up to a cost.
//
// It may also give positions of events that have none of the query's types, where that is cheaper. The caller looks at the types.
//
// INVARIANT: next gives a position only if all lists have it, so a scan is the intersection of its lists. Each list gives
// positions at or after s.at, so no position of the intersection is passed over.
type scan struct {
	at      eventstore.Position // the position that next found, or that it would have looked at when it was stopped
	cost    int                 // seeks so far; at most maxCost
	steps   int                 // rounds so far; every 32nd looks whether the scan is interrupted
	stopped bool                // the cost is reached: there may be more positions from at on
	err     error

	lists       []list // the scan gives the positions that are in all of them
	newest      bool
	from, to    eventstore.Position // both included, in the scan's direction
	interrupted func() error
}

func (h *History) scan(ctx context.Context, q *Query) *scan {
	s := &scan{newest: q.Newest, from: q.After + 1, to: ^eventstore.Position(0), interrupted: func() error { return h.interrupted(ctx) }}
	if q.Before != 0 {
		s.to = q.Before - 1
	}
	if s.newest {
		s.from, s.to = s.to, s.from
	}
	lives := q.ID != "" && len(q.Types) > 0 && !slices.ContainsFunc(q.Types, func(t string) bool { return !isLife(t) })
	for _, t := range q.terms() {
		if t.prefix == rangeInstance && lives {
			s.lists = append(s.lists, h.livesOf(t.name, q.Newest))
			continue
		}
		s.lists = append(s.lists, h.listOf(t, q.Newest))
	}
	types := anyOf{newest: q.Newest}
	for _, t := range q.Types {
		if !lives { // else there are few events of other types among those of isLife
			types.lists = append(types.lists, h.listOf(term{prefix: rangeType, name: t}, q.Newest))
		}
	}
	if len(types.lists) > 0 {
		s.lists = append(s.lists, types)
	}
	if len(s.lists) == 0 {
		s.lists = append(s.lists, &everything{entries: h.entries(), newest: q.Newest})
	}
	return s
}

// terms are the terms of a query that have an index, without its types.
func (q *Query) terms() (all []term) {
	switch {
	case q.Stream != "":
		all = append(all, term{prefix: rangeInstance, name: string(q.Stream)})
	case q.ID != "":
		all = append(all, term{prefix: rangeInstance, name: domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.ID}.String()})
	case q.Service != "":
		all = append(all, term{prefix: rangeService, name: domain.ServiceKey{Namespace: q.Namespace, Service: q.Service}.String()})
	case q.Namespace != "":
		all = append(all, term{prefix: rangeNamespace, name: q.Namespace})
	}
	if q.Actor != "" {
		all = append(all, term{prefix: rangeActor, name: q.Actor})
	}
	return all
}

// next finds the next position; false: there is none, the scan was stopped, or it failed.
func (s *scan) next() bool {
	if s.at != 0 {
		if s.newest && s.at == 1 {
			return false
		}
		s.from = s.behind(s.at)
	}
	s.at = s.from
	for agreed := 0; agreed < len(s.lists); {
		if s.newest && s.at < s.to || !s.newest && s.at > s.to {
			return false
		}
		if s.cost >= maxCost {
			s.stopped = true
			return false
		}
		s.steps++
		if s.steps%32 == 1 {
			if s.err = s.interrupted(); s.err != nil {
				return false
			}
		}
		s.cost++
		for _, l := range s.lists {
			at, ok := l.seek(s.at)
			if !ok {
				return false
			}
			if at != s.at {
				s.at, agreed = at, 0
				break
			}
			agreed++
		}
	}
	return !(s.newest && s.at < s.to || !s.newest && s.at > s.to)
}

// inSight is how many positions the scan may give without reading another list, and at least one.
func (s *scan) inSight() int {
	if l, ok := s.lists[0].(*postings); ok {
		return max(1, len(l.young)+len(l.block))
	}
	return maxCost
}

// behind is the position after p in the scan's direction.
func (s *scan) behind(p eventstore.Position) eventstore.Position {
	if s.newest {
		return p - 1
	}
	return p + 1
}

// before is the Query.After, or the Query.Before where the newest come first, with which another scan begins at at.
func (s *scan) before() eventstore.Position {
	if s.newest {
		return s.at + 1
	}
	return s.at - 1
}

func (s *scan) close() (err error) {
	for _, l := range s.lists {
		err = errors.Join(err, l.close())
	}
	return err
}
