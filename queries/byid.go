package queries

import (
	"github.com/rollcall-registry/rollcall/domain"
)

// ByID finds the live instances that have one of the ids, in any service.
func (s *Service) ByID(ids ...string) (keys []domain.Key) {
	for _, id := range ids {
		for _, entry := range s.Live.Catalog().ByID(id) {
			keys = append(keys, entry.Key())
		}
	}
	return keys
}

// ByCheck finds the live instances that have a check of that id, in any service. It looks at the checks of all instances: a face
// whose clients name checks by ids alone remembers what it found.
func (s *Service) ByCheck(check string) (keys []domain.Key) {
	for entry := range s.Live.Catalog().All {
		if entry.HasCheck(check) {
			keys = append(keys, entry.Key())
		}
	}
	return keys
}
