package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// MaxLeaves is how many leaves an answer has at most.
const MaxLeaves = 10_000

// Leaves are some of the tree's leaves: with them, and a checkpoint that they add up to, an auditor can
// tell which event is not what it was.
type Leaves struct {
	From   int64       `json:"from"`
	Size   int64       `json:"size"` // of the tree
	Hashes []tlog.Hash `json:"hashes"`
}

// Inclusion proves that an event is in the log of so many events.
type Inclusion struct {
	Size  int64           `json:"size"`
	Leaf  int64           `json:"leaf"`
	Hash  tlog.Hash       `json:"hash"`
	Root  tlog.Hash       `json:"root"`
	Proof []tlog.Hash     `json:"proof"`
	Event json.RawMessage `json:"event"` // in canonical form: hash is RFC 6962's leaf hash of these bytes
}

// Consistency proves that the log of so many events is the beginning of a later one.
type Consistency struct {
	From     int64       `json:"from"`
	To       int64       `json:"to"`
	FromRoot tlog.Hash   `json:"from_root"`
	ToRoot   tlog.Hash   `json:"to_root"`
	Proof    []tlog.Hash `json:"proof"`
}

// Checkpoint is the signed head of the tamper-evident log, as a note: origin, number of events, root.
func (s *Service) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return nil, err
	}
	return s.Signer.Sign(s.History)
}

// CheckpointKey is the key that verifies checkpoints.
func (s *Service) CheckpointKey() string { return s.Signer.VerifierKey() }

// Leaves gives leaves from a number on; "" means the first, and as many as an answer can have.
func (s *Service) Leaves(ctx context.Context, from, limit string) (l Leaves, err error) {
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
	l.Hashes = notNull(hashes)
	return l, err
}

// Inclusion proves that the event at a position is in the log of size events ("": of all).
func (s *Service) Inclusion(ctx context.Context, position, size string) (in Inclusion, err error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return in, err
	}
	place, err := wire.ParsePosition("position", position)
	if err != nil {
		return in, err
	}
	number, err := s.number("position", place)
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
	in.Leaf, in.Hash, in.Proof = entry.Leaf, history.HashEvent(&entry.RecordedEvent), notNull(proof)
	in.Event = eventstore.AppendCanonical(nil, &entry.RecordedEvent)
	in.Root, err = s.History.Root(in.Size)
	return in, err
}

// Consistency proves that the log of from events is the beginning of that of to events ("": of all).
func (s *Service) Consistency(ctx context.Context, from, to string) (c Consistency, err error) {
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
	c.Proof = notNull(proof)
	if c.FromRoot, err = s.History.Root(c.From); err != nil {
		return c, err
	}
	c.ToRoot, err = s.History.Root(c.To)
	return c, err
}

// treeSize reads a number of events; all of them when it is left out.
func (s *Service) treeSize(field, text string) (int64, error) {
	size := s.History.Leaves()
	return ParseNumber(field, text, size, 1, size)
}

// ParseNumber reads a whole number from least to most; "" is otherwise.
func ParseNumber(field, text string, otherwise, least, most int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, domain.InvalidField{Field: field, Rule: fmt.Sprintf("must be from %d to %d", least, most)}
	}
	return n, nil
}

func notNull(hashes []tlog.Hash) []tlog.Hash {
	if hashes == nil {
		return []tlog.Hash{}
	}
	return hashes
}

func noSuchTree(err error, field string, size int64) error {
	if errors.Is(err, history.ErrNoSuchTree) {
		return domain.InvalidField{Field: field, Rule: "does not fit: the log of " + strconv.FormatInt(size, 10) + " events has no such proof"}
	}
	return err
}
