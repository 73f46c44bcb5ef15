package leases

import (
	"maps"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Standing is the state of self-preservation in a namespace, as the log has it.
type Standing struct {
	On     bool
	Forced bool      // an operator holds expiry
	Since  time.Time // when the newest event about it was recorded; zero: there is none
	Actor  string    // the actor of that event
	Reason string    // the reason in that event
}

// Standings has the standing of every namespace. It is immutable. In the zero value expiry is held nowhere.
type Standings struct {
	all Standing            // of the namespaces that are not in own
	own map[string]Standing // by namespace; each is newer than all
}

// Of is the standing that holds for a namespace.
func (s *Standings) Of(namespace string) Standing {
	if own, ok := s.own[namespace]; ok {
		return own
	}
	return s.all
}

// Held gives the namespaces with a standing of their own, where that or the standing of all says that expiry is held. all
// is the standing of the other namespaces.
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

// After gives the standings after an event of the registry's stream.
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
	if namespace == "" { // an event of schema 1, or an operator's decision for every namespace
		return &Standings{all: now}
	}
	after := &Standings{all: s.all, own: maps.Clone(s.own)}
	if after.own == nil {
		after.own = make(map[string]Standing)
	}
	after.own[namespace] = now
	return after
}
