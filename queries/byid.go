package queries

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ByID finds the live instances that have one of the ids, in any service. It looks at the names of all instances: a face
// whose clients name instances by ids alone remembers what it found.
func (s *Service) ByID(ids ...string) (keys []domain.Key) {
	for entry := range s.Live.Catalog().All {
		if slices.Contains(ids, entry.ID()) {
			keys = append(keys, entry.Key())
		}
	}
	return keys
}

// ByCheck finds the live instances that have a check of that id, in any service, with the costs of ByID.
func (s *Service) ByCheck(check string) (keys []domain.Key) {
	for entry := range s.Live.Catalog().All {
		if entry.Watched() && slices.ContainsFunc(Show(entry, nil).Checks, func(c wire.Check) bool { return c.ID == check }) {
			keys = append(keys, entry.Key())
		}
	}
	return keys
}
