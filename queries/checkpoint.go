package queries

import (
	"context"
	"errors"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// MaxLeaves is the greatest number of leaves of an answer.
const MaxLeaves = 10_000

// Checkpoint is the signed head of the tamper-evident log, as a note: origin, number of events, root.
func (s *Service) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return nil, err
	}
	return s.Signer.Sign(s.History, s.Timelines().Name)
}

// CheckpointKey is the key that verifies checkpoints.
func (s *Service) CheckpointKey() string { return s.Signer.VerifierKey() }

// Leaves gives leaves from the number from on ("": the first), limit of them at most ("": MaxLeaves).
func (s *Service) Leaves(ctx context.Context, from, limit string) (l wire.Leaves, err error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return l, err
	}
	l.Size = s.History.Leaves()
	if l.From, err = ParseNumber("from", from, 0, 0, l.Size); err != nil {
		return l, err
	}
	n, err := ParseNumber("limit", limit, MaxLeaves, 1, MaxLeaves)
	if err != nil {
		return l, err
	}
	hashes, err := s.History.LeafHashes(l.From, min(l.From+n, l.Size))
	l.Hashes = wireHashes(hashes)
	return l, err
}

// Inclusion proves that the event at a position is in the log of size events ("": the whole log).
func (s *Service) Inclusion(ctx context.Context, position, size string, secrets Secrets) (in wire.InclusionProof, err error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return in, err
	}
	place, err := wire.ParsePosition("position", position)
	if err != nil {
		return in, err
	}
	number, err := s.number(place)
	if err != nil {
		return in, err
	}
	entry, ok, err := s.History.At(ctx, number)
	if err != nil {
		return in, err
	}
	if !ok {
		return in, domain.InvalidField{Field: "position", Rule: "must be that of a lifecycle event; heartbeats are not in the log"}
	}
	if in.Size, err = s.treeSize("size", size); err != nil {
		return in, err
	}
	proof, err := s.History.ProveInclusion(in.Size, entry.Leaf)
	if err != nil {
		return in, noSuchTree(err, "size", in.Size)
	}
	in.Leaf, in.Hash, in.Proof = entry.Leaf, wire.Hash(history.HashEvent(&entry.RecordedEvent)), wireHashes(proof)
	in.Event = eventstore.AppendCanonical(nil, secrets.Show(&entry.RecordedEvent))
	root, err := s.History.Root(in.Size)
	in.Root = wire.Hash(root)
	return in, err
}

// Consistency proves that the log of from events is the beginning of the log of to events ("": the whole log).
func (s *Service) Consistency(ctx context.Context, from, to string) (c wire.ConsistencyProof, err error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return c, err
	}
	if c.From, err = s.treeSize("from", from); err != nil {
		return c, err
	}
	if c.To, err = s.treeSize("to", to); err != nil {
		return c, err
	}
	proof, err := s.History.ProveConsistency(c.To, c.From)
	if err != nil {
		return c, noSuchTree(err, "from", c.From)
	}
	fromRoot, err := s.History.Root(c.From)
	if err != nil {
		return c, err
	}
	toRoot, err := s.History.Root(c.To)
	c.FromRoot, c.ToRoot, c.Proof = wire.Hash(fromRoot), wire.Hash(toRoot), wireHashes(proof)
	return c, err
}

// treeSize reads a number of events; "": the number of all events.
func (s *Service) treeSize(field, text string) (int64, error) {
	size := s.History.Leaves()
	return ParseNumber(field, text, size, 1, size)
}

// wireHashes gives hashes in the form of the API. The result is never nil, so that its JSON is not null.
func wireHashes(hashes []tlog.Hash) []wire.Hash {
	shown := make([]wire.Hash, len(hashes))
	for i, h := range hashes {
		shown[i] = wire.Hash(h)
	}
	return shown
}

// noSuchTree turns history.ErrNoSuchTree into an error that names the field of the query.
func noSuchTree(err error, field string, size int64) error {
	if errors.Is(err, history.ErrNoSuchTree) {
		return domain.InvalidField{Field: field, Rule: "does not fit: the log of " + strconv.FormatInt(size, 10) + " events has no such proof"}
	}
	return err
}
