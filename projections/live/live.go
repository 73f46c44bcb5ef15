// Package live runs the projections that are kept in memory: the catalog, its feed of changes, the leases, and the
// standing of self-preservation. One goroutine applies events, in order, each once.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Options says how to run the projections.
type Options struct {
	Store     eventstore.Store
	Snapshots projections.Snapshots
	Now       func() time.Time
	Logger    *slog.Logger
	// SnapshotEvery is the number of lifecycle events between two snapshots; 0: 25,000. A catalog with more instances
	// than that is saved after as many events as it has instances.
	SnapshotEvery int
	// Replaying is called when many events are applied at the start, which makes garbage, and what it returns is called afterwards. All
	// else at the start makes little garbage, but for what stays. nil: nobody is told.
	Replaying func() (replayed func())
	// OnProgress is told during the start which position the projections have reached; nil: nobody is told.
	OnProgress func(at, head eventstore.Position)
}

// State is the present state of the projections. One goroutine applies events; any goroutine may read.
//
// INVARIANT: the catalog and the feed change together while changing is held. So a snapshot that is taken while changing
// is held, and the changes that the feed has after its position, have neither a gap nor a repeat.
type State struct {
	projections.Progress

	opts     Options
	began    time.Time
	catalog  atomic.Pointer[catalog.Catalog]
	leases   *leases.Table
	removals *leases.Removals
	changing sync.Mutex // held while an event changes the catalog and the feed
	feed     *feed.Feed
	registry atomic.Pointer[registry]

	thresholds atomic.Pointer[Thresholds]
	touched    atomic.Uint64 // see Touched

	skipped atomic.Int64              // events that could not be applied
	events  uint64                    // lifecycle events up to the position
	unsaved int                       // lifecycle events since the last snapshot
	level   atomic.Pointer[time.Time] // when the projections were last known to be level with the store; nil: never yet
	stale   atomic.Bool               // the store was not reached since the start
	saving  chan struct{}             // holds a token while a snapshot is written; never closed
}

// Open loads the newest snapshot and applies the lifecycle events after it. All leases begin anew, because no heartbeat
// could be taken while the registry did not run. Run then applies further events. When the store cannot be reached, the
// state is the snapshot's until Run reaches the store.
func Open(ctx context.Context, opts Options) (*State, error) {
	if opts.SnapshotEvery == 0 {
		opts.SnapshotEvery = 25_000
	}
	if opts.Replaying == nil {
		opts.Replaying = func() func() { return func() {} }
	}
	s := &State{opts: opts, began: opts.Now(), saving: make(chan struct{}, 1)}
	s.catalog.Store(catalog.New())
	s.registry.Store(newRegistry())
	s.thresholds.Store(&Thresholds{})
	at, err := s.load()
	if err != nil {
		return nil, fmt.Errorf("load the catalog's snapshot: %w", err)
	}
	s.events = at.Events
	s.feed = feed.New(s.catalog.Load(), at.Position, feed.Capacity)
	reached := at.Position
	err = s.catchUp(ctx, at.Position, &reached)
	s.stale.Store(errors.Is(err, eventstore.ErrUnavailable))
	if err != nil && !s.stale.Load() {
		return nil, err
	}
	now := opts.Now()
	s.leases = leases.NewTable(now, s.Catalog().Len())
	s.removals = leases.NewRemovals(s.leases)
	if err := s.startLeases(ctx, now); err != nil {
		return nil, err
	}
	if !s.stale.Load() {
		s.level.Store(&now)
	}
	s.Advance(reached)
	return s, nil
}

// load loads the newest snapshot.
func (s *State) load() (projections.Mark, error) {
	at, err := s.opts.Snapshots.Newest(^eventstore.Position(0), func(state io.Reader) error {
		loaded, err := catalog.Load(state)
		if err == nil {
			s.catalog.Store(loaded)
		}
		return err
	})
	s.Catalog().SavedAt(at.Position)
	return at, err
}

// catchUp applies the lifecycle events that the store has after the snapshot.
func (s *State) catchUp(ctx context.Context, at eventstore.Position, reached *eventstore.Position) error {
	head, err := s.opts.Store.Head(ctx)
	if err != nil {
		return err
	}
	if at > head {
		return fmt.Errorf("the catalog's snapshot is at position %d, but the event store ends at %d: it is not this store's, or the store lost events", at, head)
	}
	if err := s.replay(ctx, at, head, reached); err != nil {
		return fmt.Errorf("rebuild the catalog: %w", err)
	}
	*reached = head
	return errors.Join(s.loadRegistry(ctx), s.loadThresholds(ctx))
}

// replay applies lifecycle events only, because a heartbeat from before the start renews no lease.
func (s *State) replay(ctx context.Context, at, head eventstore.Position, reached *eventstore.Position) error {
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	replayed := func() {}
	defer func() { replayed() }()
	many := s.events + manyEvents
	var newest tail
	// The feed begins with the replayed changes, so that subscribers can resume after a restart.
	defer func() { s.feed = newest.into(s.feed) }()
	for events, err := range projections.ReadAhead(ctx, s.opts.Store, eventstore.ReadAllOptions{After: at, To: head, Filter: filter}) {
		if err != nil {
			return err
		}
		s.Catalog().ApplyAll(events, func(e *eventstore.RecordedEvent, before, entry *catalog.Entry, err error) {
			switch {
			case err != nil:
				s.skip(e, err)
			case before != entry:
				newest.add(e, before, entry)
			}
			*reached = e.Position
			s.events++
			s.unsaved++
			if s.events == many {
				replayed = s.opts.Replaying()
			}
			if s.events%10_000 == 0 && s.opts.OnProgress != nil {
				s.opts.OnProgress(e.Position, head)
			}
			if s.due() { // a long replay saves the snapshots that queries of past moments need
				s.saving <- struct{}{} // waits for the snapshot before
				s.saveBeside(projections.Mark{Position: e.Position, Events: s.events})
			}
		})
	}
	return nil
}

// manyEvents is a number of events whose replay makes some ten megabytes of garbage.
const manyEvents = 25_000

// applied is an event with the change that it made to the catalog.
type applied struct {
	event         eventstore.RecordedEvent
	before, after *catalog.Entry
}

// tail keeps the newest changes of a replay, as many as the feed keeps. To append only these to the feed is cheaper than
// to append all changes of the replay.
type tail struct {
	ring []applied
	next int // index of the next change; once the ring is full, also of the oldest
	// floor is the position of the newest change that was dropped; 0: none was.
	floor eventstore.Position
}

func (t *tail) add(e *eventstore.RecordedEvent, before, after *catalog.Entry) {
	if len(t.ring) < feed.Capacity {
		t.ring = append(t.ring, applied{*e, before, after})
		return
	}
	oldest := &t.ring[t.next]
	t.floor = oldest.event.Position
	oldest.event, oldest.before, oldest.after = *e, before, after
	t.next = (t.next + 1) % len(t.ring)
}

// into appends the changes to the feed. If changes were dropped, it gives a new feed with only the changes of tail.
func (t *tail) into(f *feed.Feed) *feed.Feed {
	if t.floor > 0 {
		f = feed.New(catalog.New(), t.floor, feed.Capacity)
	}
	for i := range t.ring {
		a := &t.ring[(t.next+i)%len(t.ring)]
		f.Append(&a.event, a.before, a.after)
	}
	return f
}

// Catalog is the live catalog.
func (s *State) Catalog() *catalog.Catalog { return s.catalog.Load() }

// Feed has the newest changes of the catalog.
func (s *State) Feed() *feed.Feed { return s.feed }

// Snapshot is a service as it is, and the feed's position. The feed's changes after that position are not in the snapshot.
func (s *State) Snapshot(key domain.ServiceKey) (*catalog.View, eventstore.Position) {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.Catalog().View(key), s.feed.Position()
}

// SnapshotAll is Snapshot for every service, in one namespace or ("") in all.
func (s *State) SnapshotAll(namespace string) ([]*catalog.View, eventstore.Position) {
	s.changing.Lock()
	defer s.changing.Unlock()
	keys := s.Catalog().Services(namespace)
	views := make([]*catalog.View, len(keys))
	for i, key := range keys {
		views[i] = s.Catalog().View(key)
	}
	return views, s.feed.Position()
}

// SnapshotOf is Snapshot for some services.
func (s *State) SnapshotOf(keys []domain.ServiceKey) ([]*catalog.View, eventstore.Position) {
	s.changing.Lock()
	defer s.changing.Unlock()
	views := make([]*catalog.View, len(keys))
	for i, key := range keys {
		views[i] = s.Catalog().View(key)
	}
	return views, s.feed.Position()
}

// Leases is the live lease table.
func (s *State) Leases() *leases.Table { return s.leases }

// Removals are the removals of what stays critical.
func (s *State) Removals() *leases.Removals { return s.removals }

// Skipped is the number of events that could not be applied.
func (s *State) Skipped() int64 { return s.skipped.Load() }

// Stale says whether the store was not reached since the start. The state then comes from a snapshot.
func (s *State) Stale() bool { return s.stale.Load() }

// Now is the time that the leases are measured by.
func (s *State) Now() time.Time { return s.opts.Now() }

// Run applies events as they come, until the context ends.
func (s *State) Run(ctx context.Context) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	telling.Go(func() { s.feed.Run(ctx) })
	opts := eventstore.SubscribeOptions{After: s.Position(), Urgent: true}
	err := projections.Follow(ctx, s.opts.Store, opts, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		if s.stale.Load() { // the store is reached now, and the streams could not be read at the start
			if err := errors.Join(s.loadRegistry(ctx), s.loadThresholds(ctx)); err == nil {
				s.touchAll()
				s.stale.Store(false)
			}
		}
		now := s.opts.Now()
		s.apply(events, now)
		s.Advance(position)
		s.snapshot()
		return nil
	})
	if err != nil {
		return fmt.Errorf("projections: %w", err)
	}
	return nil
}

// due says whether there were enough events for another snapshot.
func (s *State) due() bool { return s.unsaved >= max(s.opts.SnapshotEvery, s.Catalog().Len()) }

// snapshot saves the catalog when a snapshot is due, while further events are applied.
func (s *State) snapshot() {
	if !s.due() {
		return
	}
	select {
	case s.saving <- struct{}{}:
	default:
		return // another snapshot is being written
	}
	s.saveBeside(projections.Mark{Position: s.Position(), Events: s.events})
}

// saveBeside saves the catalog as it is now, in a goroutine of its own. REQUIRES: the caller has put a token into saving.
// The goroutine takes the token out when the snapshot is written.
func (s *State) saveBeside(at projections.Mark) {
	s.unsaved = 0
	state := s.Catalog().Freeze()
	go func() {
		defer func() { <-s.saving }()
		if err := s.save(at, state); err != nil {
			s.opts.Logger.Error("snapshot could not be saved; the next start takes longer", "cause", err)
		}
	}()
}

func (s *State) save(at projections.Mark, state catalog.Frozen) error {
	if err := s.opts.Snapshots.Save(at, state.Encode); err != nil {
		return err
	}
	return s.opts.Snapshots.Thin()
}

// Close saves a last snapshot, so that the next start is fast. REQUIRES: Run has returned.
func (s *State) Close() error {
	s.saving <- struct{}{} // waits for a snapshot that is being written
	if s.unsaved == 0 {
		return nil
	}
	return s.save(projections.Mark{Position: s.Position(), Events: s.events}, s.Catalog().Freeze())
}
