package queries

import (
	"context"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// gone is the error for an instance that is not in the catalog now, or was not at a position (0: now): a Gone with the
// event that took the instance out, or a domain.UnknownInstance.
func (s *Service) gone(ctx context.Context, key domain.Key, at eventstore.Position) error {
	if at == 0 {
		if err := s.historyUpToDate(ctx); err != nil {
			return err
		}
	}
	q := history.Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Newest: true, Limit: 2}
	if at > 0 {
		q.Before = at + 1
	}
	page, err := s.History.Find(ctx, q)
	if err != nil {
		return err
	}
	entries := page.Entries
	if len(entries) == 2 && entries[0].Type == domain.TypeTrafficChanged { // a change of traffic can end maintenance after the instance's end
		entries = entries[1:]
	}
	if len(entries) == 0 || entries[0].Type != domain.TypeInstanceDeregistered && entries[0].Type != domain.TypeLeaseExpired {
		return domain.UnknownInstance{Key: key}
	}
	return Gone{Key: key, Event: ShowEntry(s.Timelines(), &entries[0])}
}
