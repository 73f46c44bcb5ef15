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
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Service is the door for reads, as commands.Service is for writes: every face asks it and gets values.
// What a query means is decided here; how the answer is written and sent is the face's.
type Service struct {
	Live    *live.State
	Past    *asof.Past
	History *history.History
	Store   eventstore.Store
	StoreID string
	Signer  *history.Signer // signs the heads of the tamper-evident log
	Now     func() time.Time
	// Stopping ends when the registry shuts down: who waits is answered at once, who follows is cut.
	Stopping context.Context
}

// behindAfter is how long a query waits for a projection that is behind.
const behindAfter = 5 * time.Second

// Behind refuses a query that a projection could not answer in time.
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

// Position is up to where the catalog is.
func (s *Service) Position() eventstore.Position { return s.Live.Position() }

// After returns when the catalog has reached a position that a client was given: then it shows the
// client's own writes.
func (s *Service) After(ctx context.Context, after wire.Position) error {
	wanted, err := s.number("after", after)
	if err != nil {
		return err
	}
	return reach(ctx, "catalog", s.Live, wanted)
}

// historyUpToDate returns when the history shows what the catalog shows.
func (s *Service) historyUpToDate(ctx context.Context) error {
	return reach(ctx, "history", s.History, s.Live.Position())
}

// progress is a projection that says how far it is.
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

// number is the place of a client's position in this store's log. A position of another timeline has none.
func (s *Service) number(field string, p wire.Position) (eventstore.Position, error) {
	if !s.known(p) {
		return 0, domain.InvalidField{Field: field, Rule: "must be a position of this store's timeline"}
	}
	return p.Number, nil
}

// known says whether a client's position is of this store's timeline.
func (s *Service) known(p wire.Position) bool { return p.Timeline == "" }

// assigned is number of a position that an event has or had.
func (s *Service) assigned(ctx context.Context, field string, p wire.Position) (eventstore.Position, error) {
	number, err := s.number(field, p)
	if err != nil {
		return 0, err
	}
	head, err := s.Store.Head(ctx)
	if err == nil && number > head {
		err = domain.InvalidField{Field: field, Rule: fmt.Sprintf("must be a position that was assigned; the newest is %d", head)}
	}
	return number, err
}

// View is a service's view in the live catalog.
func (s *Service) View(key domain.ServiceKey) *catalog.View { return s.Live.Catalog().View(key) }

// Lag is how long the catalog has been behind the event store. stale says that the store could not be
// reached since the start: what there is comes from a snapshot.
func (s *Service) Lag() (lag time.Duration, stale bool) { return s.Live.LagTime(), s.Live.Stale() }

// SelfPreserving says whether expiry is held in a namespace, or ("") in any.
func (s *Service) SelfPreserving(namespace string) bool {
	standings, _ := s.Live.SelfPreservation()
	if namespace == "" {
		return standings.Anywhere()
	}
	return standings.Of(namespace).On
}
