package queries

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// everyNamespace stands for the namespaces that are not named.
const everyNamespace = "*"

// Preservation says where expiry is held: in a namespace, or ("") in those that have leases or were ever held. A caller who sees
// a part of the services is told of the namespaces that these are in, and of the leases of these services only.
func (s *Service) Preservation(namespace string, visible Visible) wire.Preservation {
	p := wire.Preservation{Position: wire.Position{Number: s.Live.Position()}, Namespaces: []wire.NamespacePreservation{}}
	standings, _ := s.Live.SelfPreservation()
	show := func(name string, standing leases.Standing) {
		c := s.census(name, visible)
		shown := wire.NamespacePreservation{
			Namespace: name, Held: standing.On, Forced: standing.Forced, Actor: standing.Actor, Reason: standing.Reason, Leases: c.Leases, Overdue: c.Overdue,
		}
		if name == "" {
			shown.Namespace = everyNamespace
		}
		if !standing.Since.IsZero() {
			shown.Since = &standing.Since
		}
		p.Namespaces = append(p.Namespaces, shown)
	}
	if namespace != "" {
		show(namespace, standings.Of(namespace))
		return p
	}
	named, all := standings.Held()
	if all.On {
		show("", all)
	}
	for _, c := range s.Live.Leases().Namespaces() {
		if _, held := named[c]; !held {
			named[c] = standings.Of(c)
		}
	}
	for name, standing := range named {
		if visible == nil || len(s.seen(name, visible)) > 0 {
			show(name, standing)
		}
	}
	slices.SortFunc(p.Namespaces, func(a, b wire.NamespacePreservation) int { return strings.Compare(a.Namespace, b.Namespace) })
	return p
}

// seen are the services of a namespace that a caller may see.
func (s *Service) seen(namespace string, visible Visible) []domain.ServiceKey {
	return slices.DeleteFunc(slices.Clone(s.Live.Catalog().Services(namespace)), func(key domain.ServiceKey) bool { return !visible(key) })
}

// census counts the leases of a namespace, or ("") of all, that a caller may see.
func (s *Service) census(namespace string, visible Visible) leases.Census {
	table := s.Live.Leases()
	if visible == nil {
		return table.Count(namespace)
	}
	c := leases.Census{Namespace: namespace, Overdue: table.CountOverdue(namespace, visible)}
	for _, key := range s.seen(namespace, visible) {
		for _, entry := range s.View(key).Entries {
			if _, ok := table.Find(entry.Key()); ok {
				c.Leases++
			}
		}
	}
	return c
}

// SelfPreserving says whether expiry is held in a namespace, or ("") in any.
func (s *Service) SelfPreserving(namespace string) bool {
	standings, _ := s.Live.SelfPreservation()
	if namespace == "" {
		return standings.Anywhere()
	}
	return standings.Of(namespace).On
}

// HeldSince is since when expiry is held in a namespace, or ("") in the first of all that the caller sees services of; zero: it
// is not held.
func (s *Service) HeldSince(namespace string, visible Visible) time.Time {
	held := s.expiryHeld(namespace)
	if namespace == "" && visible != nil {
		maps.DeleteFunc(held, func(name string, _ wire.ExpiryHeld) bool {
			return name != everyNamespace && len(s.seen(name, visible)) == 0
		})
	}
	if len(held) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(slices.Collect(maps.Values(held)), func(a, b wire.ExpiryHeld) int { return a.Since.Compare(b.Since) }).Since
}

// expiryHeld are the namespaces in which expiry is held, as they are named to clients: one, or ("") all.
func (s *Service) expiryHeld(namespace string) map[string]wire.ExpiryHeld {
	held := map[string]wire.ExpiryHeld{}
	note := func(name string, standing leases.Standing) {
		if standing.On {
			held[name] = wire.ExpiryHeld{Since: standing.Since, Forced: standing.Forced, Actor: standing.Actor, Reason: standing.Reason}
		}
	}
	standings, _ := s.Live.SelfPreservation()
	if namespace != "" {
		note(namespace, standings.Of(namespace))
		return held
	}
	named, all := standings.Held()
	note(everyNamespace, all)
	for name, standing := range named {
		note(name, standing)
	}
	return held
}

// expiryHeldIn says since when and by whom expiry is held in a namespace; nil: it is not.
func (s *Service) expiryHeldIn(namespace string) *wire.ExpiryHeld {
	if held, ok := s.expiryHeld(namespace)[namespace]; ok {
		return &held
	}
	return nil
}
