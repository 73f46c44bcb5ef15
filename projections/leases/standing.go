package leases

import (
	"maps"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Standing is what the log says of self-preservation in a namespace.
type Standing struct {
	On     bool
	Forced bool      // an operator holds expiry
	Since  time.Time // when the event was recorded that says so; zero: none was
	Actor  string    // of that event
	Reason string
}

// Standings are those of all namespaces. They are immutable; the zero value says that expiry is held nowhere.
type Standings struct {
	all Standing            // of the namespaces that have none of their own
	own map[string]Standing // newer than all
}

// Of is the standing that holds for a namespace.
func (s *Standings) Of(namespace string) Standing {
	if own, ok := s.own[namespace]; ok {
		return own
	}
	return s.all
}

// Held are the namespaces in which expiry is held, as far as they are named; all: it is held in those that are not
// named either.
func (s *Standings) Held() (named map[string]Standing, all Standing) {
	named = make(map[string]Standing)
	for namespace, standing := range s.own {
		if standing.On || s.all.On {
			named[namespace] = standing
		}
	}
	return named, s.all
}

// Anywhere says whether expiry is held in any namespace.
func (s *Standings) Anywhere() bool {
	for _, standing := range s.own {
		if standing.On {
			return true
		}
	}
	return s.all.On
}

// After are the standings after an event of the registry stream.
func (s *Standings) After(event domain.Event, actor string, recorded time.Time) *Standings {
	var namespace string
	now := Standing{Since: recorded, Actor: actor}
	switch e := event.(type) {
	case domain.SelfPreservationStarted:
		namespace, now.On, now.Forced, now.Reason = e.Namespace, true, e.Forced, e.Reason
	case domain.SelfPreservationEnded:
		namespace, now.Reason = e.Namespace, e.Reason
	default:
		return s
	}
	if namespace == "" { // before version 2, or by an operator: every namespace
		return &Standings{all: now}
	}
	after := &Standings{all: s.all, own: maps.Clone(s.own)}
	if after.own == nil {
		after.own = make(map[string]Standing)
	}
	after.own[namespace] = now
	return after
}
