package queries

import (
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// everyNamespace stands for the namespaces that are not named.
const everyNamespace = "*"

// Preservation says where expiry is held: in a namespace, or ("") in those that have leases or were ever held.
func (s *Service) Preservation(namespace string) wire.Preservation {
	p := wire.Preservation{Position: wire.Position{Number: s.Live.Position()}, Namespaces: []wire.NamespacePreservation{}}
	standings, _ := s.Live.SelfPreservation()
	show := func(name string, standing leases.Standing) {
		c := s.Live.Leases().Count(name)
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
		show(name, standing)
	}
	slices.SortFunc(p.Namespaces, func(a, b wire.NamespacePreservation) int { return strings.Compare(a.Namespace, b.Namespace) })
	return p
}
