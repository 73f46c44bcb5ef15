package queries

import (
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// accessWords say what an event of the access stream means.
func accessWords(event domain.Event) string {
	switch e := event.(type) {
	case domain.TokenCreated:
		words := "token " + e.Name + " created with " + strings.Join(e.Roles, ", ")
		words += scopeWords("namespaces", e.Namespaces) + scopeWords("services", e.Services) + scopeWords("instances", e.Instances)
		if len(e.Networks) > 0 {
			words += ", from " + strings.Join(e.Networks, ", ")
		}
		if !e.Expires.IsZero() {
			words += ", until " + e.Expires.UTC().Format(time.RFC3339)
		}
		return words
	case domain.TokenRotated:
		return "token " + e.Name + " got another secret"
	case domain.TokenRevoked:
		return because("token "+e.Name+" revoked", e.Reason)
	case domain.RoleSet:
		var grants []string
		for _, g := range e.Grants {
			grants = append(grants, strings.Join(g.Verbs, "+")+" on "+string(g.Namespace)+"/"+string(g.Service))
		}
		return "role " + e.Name + " grants " + strings.Join(grants, ", ")
	case domain.RoleRemoved:
		return because("role "+e.Name+" removed", e.Reason)
	}
	return event.EventType()
}

func scopeWords(name string, patterns []domain.Pattern) string {
	if len(patterns) == 0 {
		return ""
	}
	var all []string
	for _, p := range patterns {
		all = append(all, string(p))
	}
	return ", " + name + " " + strings.Join(all, " ")
}
