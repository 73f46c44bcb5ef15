package history

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// scan goes through the positions that the indexes pick for a query, in its order, as long as it may.
type scan struct {
	at      eventstore.Position // the one that next found, or would have looked at when it was stopped
	cost    int                 // up to maxCost
	steps   int
	stopped bool // it cost too much: there may be more from at on
	err     error

	lists       []list // the positions that all of them have
	newest      bool
	from, to    eventstore.Position // both included, in the scan's direction
	interrupted func() error
}

func (h *History) scan(ctx context.Context, q *Query) (*scan, error) {
	s := &scan{newest: q.Newest, from: q.After + 1, to: ^eventstore.Position(0), interrupted: func() error { return h.interrupted(ctx) }}
	if q.Before != 0 {
		s.to = q.Before - 1
	}
	if s.newest {
		s.from, s.to = s.to, s.from
	}
	for _, t := range q.terms() {
		l, err := h.listOf(t, q.Newest)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.lists = append(s.lists, l)
	}
	types := anyOf{newest: q.Newest}
	for _, t := range q.Types {
		l, err := h.listOf(term{rangeType, t}, q.Newest)
		if err != nil {
			return nil, errors.Join(err, types.close(), s.close())
		}
		types.lists = append(types.lists, l)
	}
	if len(types.lists) > 0 {
		s.lists = append(s.lists, types)
	}
	if len(s.lists) == 0 {
		l, err := h.everything(q.Newest)
		if err != nil {
			return nil, err
		}
		s.lists = append(s.lists, l)
	}
	return s, nil
}

// terms are what the indexes know of a query, but for its types.
func (q *Query) terms() (all []term) {
	switch {
	case q.Stream != "":
		all = append(all, term{rangeInstance, string(q.Stream)})
	case q.ID != "":
		all = append(all, term{rangeInstance, domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.ID}.String()})
	case q.Service != "":
		all = append(all, term{rangeService, domain.ServiceKey{Namespace: q.Namespace, Service: q.Service}.String()})
	case q.Namespace != "":
		all = append(all, term{rangeNamespace, q.Namespace})
	}
	if q.Actor != "" {
		all = append(all, term{rangeActor, q.Actor})
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
		if s.steps++; s.steps%32 == 1 {
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

func (s *scan) behind(p eventstore.Position) eventstore.Position {
	if s.newest {
		return p - 1
	}
	return p + 1
}

// before is where another scan goes on to begin at the position that this one is at: Query.After or
// Query.Before, as its direction is.
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
