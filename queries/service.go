package queries

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Service is the door for reads, as commands.Service is for writes. Every face asks Service and gets values. Service
// decides what a query means, and the face writes and sends the answer.
type Service struct {
	Live      *live.State
	Past      *asof.Past
	History   *history.History
	Store     eventstore.Store
	StoreID   string
	Signer    *history.Signer // signs the heads of the tamper-evident log
	Now       func() time.Time
	Listening *leases.Listening // knows when this node could take heartbeats; nil: it always could
	Node      Node              // what the process says of itself
	Probes    Probes            // what this node knows of the probes of checks; nil: nothing
	// Stopping ends when the registry shuts down: waiting queries are answered at once, and followers get a Cut.
	Stopping context.Context

	work  work
	lists lists
}

// behindAfter is how long a query waits for a projection.
const behindAfter = 5 * time.Second

// Behind refuses a query because a projection did not reach a position in time.
type Behind struct {
	Projection string // "catalog" or "history"
	At, Wanted eventstore.Position
	Waited     time.Duration
}

func (e Behind) Error() string {
	return fmt.Sprintf("the %s is at position %d and did not reach %d within %s", e.Projection, e.At, e.Wanted, e.Waited)
}

// UnknownService refuses a query about a service without instances.
type UnknownService struct{ Key domain.ServiceKey }

func (e UnknownService) Error() string {
	return "service " + e.Key.String() + " has no registered instance"
}

// Gone refuses a query about an instance that was registered once.
type Gone struct {
	Key   domain.Key
	Event wire.HistoryEntry // took the instance out
}

func (e Gone) Error() string {
	return "instance " + e.Key.String() + " is gone: " + e.Event.Summary + " (" + e.Event.RecordedAt.Format(time.RFC3339) + ", by " + e.Event.Actor + ")"
}

// Position is the position that the catalog has reached.
func (s *Service) Position() eventstore.Position { return s.Live.Position() }

// After waits until the catalog has reached a client's position. Then the catalog shows the client's own writes.
func (s *Service) After(ctx context.Context, after wire.Position) error {
	wanted, err := s.number(after)
	if err != nil {
		return err
	}
	return reach(ctx, "catalog", s.Live, wanted)
}

// historyUpToDate waits until the history has reached the position of the catalog.
func (s *Service) historyUpToDate(ctx context.Context) error {
	return reach(ctx, "history", s.History, s.Live.Position())
}

// historyWait is how long HistoryReached waits for the history, which is mostly some milliseconds behind at most.
const historyWait = 20 * time.Millisecond

// HistoryReached says whether the history has reached a position now, or within a moment.
func (s *Service) HistoryReached(position eventstore.Position) bool {
	if s.History.Position() >= position {
		return true
	}
	waiting, cancel := context.WithTimeout(context.Background(), historyWait)
	defer cancel()
	return s.History.WaitFor(waiting, position) == nil
}

// progress is the progress of a projection.
type progress interface {
	Position() eventstore.Position
	WaitFor(ctx context.Context, position eventstore.Position) error
}

func reach(ctx context.Context, name string, p progress, wanted eventstore.Position) error {
	if p.Position() >= wanted {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, behindAfter)
	defer cancel()
	err := p.WaitFor(waiting, wanted)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Behind{Projection: name, At: p.Position(), Wanted: wanted, Waited: behindAfter}
	}
	return err
}

// At is a position as clients are given it, to come back with.
func (s *Service) At(p eventstore.Position) wire.Position { return at(s.Timelines(), p) }

// Timelines are the store's.
func (s *Service) Timelines() eventstore.Timelines { return s.Store.Timelines() }

// at is a position with the timeline of the event at the position: before a fork that is the timeline that was left, so
// that a store that left it elsewhere knows the position, too.
func at(timelines eventstore.Timelines, p eventstore.Position) wire.Position {
	return wire.Position{Timeline: timelines.Of(p), Number: p}
}

// number is the place of a client's position in this store's log. One that another timeline counts has none: the error
// is an eventstore.OtherTimeline.
func (s *Service) number(p wire.Position) (eventstore.Position, error) {
	return s.Store.Timelines().Own(p.Timeline, p.Number)
}

// known says whether a client's position counts the same events in this store's log.
func (s *Service) known(p wire.Position) bool {
	_, relation := s.Store.Timelines().Resolve(p.Timeline, p.Number)
	return relation.GoesOn()
}

// assigned is number of a position that an event has or had.
func (s *Service) assigned(ctx context.Context, field string, p wire.Position) (eventstore.Position, error) {
	number, err := s.number(p)
	if err != nil {
		return 0, err
	}
	head, err := s.Store.Head(ctx)
	// The catalog may stand behind the newest event: a database tells how far it has looked for events, too.
	if err == nil && number > max(head, s.Live.Position()) {
		err = domain.InvalidField{Field: field, Rule: fmt.Sprintf("must be a position that was assigned; the newest is %d", head)}
	}
	return number, err
}

// Known says whether an instance is in the catalog.
func (s *Service) Known(key domain.Key) bool { return s.Live.Catalog().Find(key) != nil }

// View is a service's view in the live catalog. That of a service whose last instance is gone is at the position of the
// end, or at a later one.
func (s *Service) View(key domain.ServiceKey) *catalog.View {
	v := s.Live.Catalog().View(key)
	if v.Position == 0 { // the view of an unknown service is new, so that no other goroutine reads it
		v.Position = s.Live.Feed().ChangedAt(key)
	}
	return v
}

// Lag is how long the catalog has been behind the event store. stale says that the store could not be
// reached since the start: what there is comes from a snapshot.
func (s *Service) Lag() (lag time.Duration, stale bool) { return s.Live.LagTime(), s.Live.Stale() }
