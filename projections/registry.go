// Package projections keeps the read models up to date: it feeds them the event store's events, in
// order, each once, and says how far they are.
package projections

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Options says how to run the projections.
type Options struct {
	Store     eventstore.Store
	Snapshots Snapshots
	Now       func() time.Time
	Logger    *slog.Logger
	// SnapshotEvery is how many lifecycle events may pass between two snapshots; 0 means 25,000. A larger
	// catalog takes one after as many events as it has instances.
	SnapshotEvery int
	// OnProgress is told during the start how far the projections are; nil: nobody is.
	OnProgress func(at, head eventstore.Position)
}

// Registry runs the projections that live in memory: the catalog, the leases, and whether
// self-preservation is on. One goroutine applies events; anyone may read.
type Registry struct {
	Progress

	opts      Options
	began     time.Time
	catalog   atomic.Pointer[catalog.Catalog]
	leases    *leases.Table
	changing  sync.Mutex // held while an event changes the catalog and the feed
	feed      *feed.Feed
	preserved atomic.Pointer[eventstore.RecordedEvent] // newest event of the registry stream
	skipped   atomic.Int64                             // events that could not be applied
	events    uint64                                   // lifecycle events up to the position
	unsaved   int                                      // of them since the last snapshot
	level     atomic.Int64                             // when it was last known to be level with the store, Unix nanoseconds
	stale     atomic.Bool                              // the store could not be reached yet
	saving    chan struct{}                            // holds a token while a snapshot is written
}

// Open loads the newest snapshot and applies the lifecycle events after it. All leases begin anew:
// nobody could be heard while there was no registry. Call Run then, to stay up to date. When the store
// cannot be reached, the snapshot is what there is, until Run finds the store.
func Open(ctx context.Context, opts Options) (*Registry, error) {
	if opts.SnapshotEvery == 0 {
		opts.SnapshotEvery = 25_000
	}
	r := &Registry{opts: opts, began: opts.Now(), saving: make(chan struct{}, 1)}
	r.catalog.Store(catalog.New())
	at, err := opts.Snapshots.Newest(^eventstore.Position(0), func(state io.Reader) error {
		loaded, err := catalog.Load(state)
		if err == nil {
			r.catalog.Store(loaded)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load the catalog's snapshot: %w", err)
	}
	r.events = at.Events
	r.feed = feed.New(r.catalog.Load(), at.Position, feed.Capacity)
	reached := at.Position
	err = r.catchUp(ctx, at.Position, &reached)
	r.stale.Store(errors.Is(err, eventstore.ErrUnavailable))
	if err != nil && !r.stale.Load() {
		return nil, err
	}
	now := opts.Now()
	r.leases = leases.NewTable(now, r.Catalog().Len())
	for e := range r.Catalog().All {
		r.leases.Start(e.Key(), e.Epoch, e.TTL, now)
	}
	if !r.stale.Load() {
		r.level.Store(now.UnixNano())
	}
	r.Advance(reached)
	return r, nil
}

// catchUp applies what the store has after the snapshot.
func (r *Registry) catchUp(ctx context.Context, at eventstore.Position, reached *eventstore.Position) error {
	head, err := r.opts.Store.Head(ctx)
	if err != nil {
		return err
	}
	if at > head {
		return fmt.Errorf("the catalog's snapshot is at position %d, but the event store ends at %d: it is not this store's, or the store lost events", at, head)
	}
	if err := r.replay(ctx, at, head, reached); err != nil {
		return fmt.Errorf("rebuild the catalog: %w", err)
	}
	*reached = head
	return r.loadPreservation(ctx)
}

// replay applies lifecycle events: heartbeats from before the start renew no lease.
func (r *Registry) replay(ctx context.Context, at, head eventstore.Position, reached *eventstore.Position) error {
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	var newest tail
	// The feed begins with what is replayed, so that subscribers can go on where they were.
	defer func() { r.feed = newest.into(r.feed) }()
	for events, err := range ReadAhead(ctx, r.opts.Store, eventstore.ReadAllOptions{After: at, To: head, Filter: filter}) {
		if err != nil {
			return err
		}
		r.Catalog().ApplyAll(events, func(e *eventstore.RecordedEvent, before, entry *catalog.Entry, err error) {
			switch {
			case err != nil:
				r.skip(e, err)
			case before != entry:
				newest.add(e, before, entry)
			}
			*reached = e.Position
			r.events++
			r.unsaved++
			if r.events%10_000 == 0 && r.opts.OnProgress != nil {
				r.opts.OnProgress(e.Position, head)
			}
			if r.due() { // a long replay leaves the snapshots that time travel needs
				r.saving <- struct{}{} // each of them, so the one before comes first
				r.saveBeside(Mark{e.Position, r.events})
			}
		})
	}
	return nil
}

// applied is what an event did to the catalog.
type applied struct {
	event         eventstore.RecordedEvent
	before, after *catalog.Entry
}

// tail keeps the newest changes of a replay, as many as the feed does: it is cheaper to tell the feed of
// those alone than of all that it would forget again.
type tail struct {
	ring []applied
	next int // place of the next change, where the oldest is once the ring is full
	// floor is the position of the newest change that was let go of; 0: none was.
	floor eventstore.Position
}

func (t *tail) add(e *eventstore.RecordedEvent, before, after *catalog.Entry) {
	if len(t.ring) < feed.Capacity {
		t.ring = append(t.ring, applied{*e, before, after})
		return
	}
	place := &t.ring[t.next]
	t.floor = place.event.Position
	place.event, place.before, place.after = *e, before, after
	t.next = (t.next + 1) % len(t.ring)
}

// into gives the feed that has the changes behind what it had, or only them if more have been between.
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

func (r *Registry) loadPreservation(ctx context.Context) error {
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}
	for e, err := range r.opts.Store.ReadStream(ctx, eventstore.RegistryStream, newest) {
		if err != nil {
			return err
		}
		r.preserved.Store(&e)
	}
	return nil
}

// Catalog is the live catalog.
func (r *Registry) Catalog() *catalog.Catalog { return r.catalog.Load() }

// Feed tells of the catalog's changes.
func (r *Registry) Feed() *feed.Feed { return r.feed }

// Snapshot is a service as it is, and the position that it is at: what the feed has after that
// position comes on top.
func (r *Registry) Snapshot(key domain.ServiceKey) (*catalog.View, eventstore.Position) {
	r.changing.Lock()
	defer r.changing.Unlock()
	return r.Catalog().View(key), r.feed.Position()
}

// SnapshotAll is Snapshot of every service, of a namespace or ("") of all.
func (r *Registry) SnapshotAll(namespace string) ([]*catalog.View, eventstore.Position) {
	r.changing.Lock()
	defer r.changing.Unlock()
	keys := r.Catalog().Services(namespace)
	views := make([]*catalog.View, len(keys))
	for i, key := range keys {
		views[i] = r.Catalog().View(key)
	}
	return views, r.feed.Position()
}

// Leases is the live lease table.
func (r *Registry) Leases() *leases.Table { return r.leases }

// SelfPreservation says whether expiry is held, and which registry event said so last, if any did.
func (r *Registry) SelfPreservation() (on bool, event *eventstore.RecordedEvent) {
	event = r.preserved.Load()
	return event != nil && event.Type == domain.TypeSelfPreservationStarted, event
}

// Skipped is the number of events that could not be applied.
func (r *Registry) Skipped() int64 { return r.skipped.Load() }

// Lag is how many positions the projections are behind the store, as far as they can ask it within a
// second. Positions of a shared store are not events.
func (r *Registry) Lag() uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	head, err := r.opts.Store.Head(ctx)
	if at := r.Position(); err == nil && head > at {
		return uint64(head - at)
	}
	return 0
}

// Measure looks at every tick whether the projections are level with the store.
func (r *Registry) Measure(ctx context.Context, ticks <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		asked := r.opts.Now()
		look, cancel := context.WithTimeout(ctx, time.Second)
		head, err := r.opts.Store.Head(look)
		if err == nil {
			err = r.WaitFor(look, head)
		}
		cancel()
		if err == nil {
			r.level.Store(asked.UnixNano())
		}
	}
}

// Stale says whether the store could not be reached since the start: what there is comes from a snapshot.
func (r *Registry) Stale() bool { return r.stale.Load() }

// LagTime is how long ago the projections were last known to be level with the store. Measure finds
// out once a second, so up to two seconds mean nothing.
func (r *Registry) LagTime() time.Duration {
	level := r.level.Load()
	if level == 0 {
		return r.opts.Now().Sub(r.began)
	}
	return max(r.opts.Now().Sub(time.Unix(0, level)), 0)
}

// Run applies events as they come until the context ends.
func (r *Registry) Run(ctx context.Context) error {
	sub, err := r.opts.Store.Subscribe(ctx, eventstore.SubscribeOptions{After: r.Position(), Urgent: true})
	if err != nil {
		return err
	}
	defer sub.Close()
	var telling sync.WaitGroup
	defer telling.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	telling.Go(func() { r.feed.Run(ctx) })
	for {
		events, position, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, eventstore.ErrClosed) {
				return nil
			}
			return fmt.Errorf("projections: %w", err)
		}
		if r.stale.Load() { // the store is there now; what it could not be asked at the start is asked now
			if err := r.loadPreservation(ctx); err == nil {
				r.stale.Store(false)
			}
		}
		now := r.opts.Now()
		for i := range events {
			r.apply(&events[i], now)
		}
		r.Advance(position)
		r.snapshot()
	}
}

func (r *Registry) apply(e *eventstore.RecordedEvent, now time.Time) {
	if e.IsHeartbeat() {
		r.leases.Heard(e, now)
		return
	}
	if e.Stream == eventstore.RegistryStream {
		r.preserved.Store(e)
		return
	}
	if !strings.HasPrefix(string(e.Stream), eventstore.LifecyclePrefix) {
		return
	}
	r.events++
	r.unsaved++
	r.changing.Lock()
	before, entry, err := r.Catalog().Apply(e)
	if err == nil && before != entry {
		r.feed.Append(e, before, entry)
	}
	r.changing.Unlock()
	switch {
	case err != nil:
		r.skip(e, err)
	case entry == nil && before != nil:
		r.leases.End(before.Key())
	case entry != nil && (before == nil || e.Type == domain.TypeInstanceRegistered || e.Type == domain.TypeInstanceUpdated):
		r.leases.Start(entry.Key(), entry.Epoch, entry.TTL, now)
	}
}

func (r *Registry) skip(e *eventstore.RecordedEvent, cause error) {
	r.skipped.Add(1)
	r.opts.Logger.Error("event is kept but cannot be applied", "position", e.Position, "stream", e.Stream, "type", e.Type, "cause", cause)
}

// due says whether enough has happened for another snapshot.
func (r *Registry) due() bool { return r.unsaved >= max(r.opts.SnapshotEvery, r.Catalog().Len()) }

// snapshot saves the catalog when enough has happened, without holding up the events.
func (r *Registry) snapshot() {
	if !r.due() {
		return
	}
	select {
	case r.saving <- struct{}{}:
	default:
		return // one is being written
	}
	r.saveBeside(Mark{r.Position(), r.events})
}

// saveBeside saves the catalog as it is now while events go on. The caller holds the token of saving,
// which is given back when the snapshot is written.
func (r *Registry) saveBeside(at Mark) {
	r.unsaved = 0
	state := r.Catalog().Freeze()
	go func() {
		defer func() { <-r.saving }()
		if err := r.save(at, state); err != nil {
			r.opts.Logger.Error("snapshot could not be saved; the next start takes longer", "cause", err)
		}
	}()
}

func (r *Registry) save(at Mark, state catalog.Frozen) error {
	if err := r.opts.Snapshots.Save(at, state.Encode); err != nil {
		return err
	}
	return r.opts.Snapshots.Thin()
}

// Close saves a last snapshot, so that the next start is quick. Run must have returned.
func (r *Registry) Close() error {
	r.saving <- struct{}{} // whichever is being written comes first
	if r.unsaved == 0 {
		return nil
	}
	return r.save(Mark{r.Position(), r.events}, r.Catalog().Freeze())
}
