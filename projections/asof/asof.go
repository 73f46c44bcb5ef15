// Package asof gives the catalog at any past position. It takes the nearest snapshot at or before the position and applies
// the lifecycle events after it.
package asof

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// building is how many catalogs are built at once. Further callers wait.
const building = 2

// On the way to a moment, a clone of the catalog is kept after this many events, and after half as many events as there are
// instances. So a moment near to one that was asked for costs the events between the two, however far the snapshot is away.
const wayEvents = 4_000

// Past makes catalogs of past positions. It may be used from any goroutine.
type Past struct {
	store     eventstore.Store
	snapshots projections.Snapshots
	slots     chan struct{} // holds a token for each catalog that is being built; never closed

	mu     sync.Mutex
	kept   kept
	builds map[eventstore.Position]*build // under way
}

// build is the building of one catalog, for all callers that wait for it.
type build struct {
	waiting int                // callers that wait; guarded by Past.mu
	cancel  context.CancelFunc // called when no caller waits any more
	done    chan struct{}      // closed by run when catalog and err are set
	catalog *catalog.Catalog
	err     error
}

// New is a Past over a store and the snapshots that the live catalog leaves behind.
func New(store eventstore.Store, snapshots projections.Snapshots) *Past {
	return &Past{store: store, snapshots: snapshots, slots: make(chan struct{}, building), builds: make(map[eventstore.Position]*build)}
}

// At is the catalog as it was when the event at the position, and no later event, had been applied. All callers that ask
// for one position share a build, which goes on as long as one of them waits. REQUIRES: nobody changes the catalog.
func (p *Past) At(ctx context.Context, at eventstore.Position) (*catalog.Catalog, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, b := p.recallOrJoin(ctx, at)
	if c != nil {
		return c, nil
	}
	defer p.leave(at, b)
	select {
	case <-b.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("catalog at position %d: %w", at, ctx.Err())
	}
	if b.err != nil {
		return nil, fmt.Errorf("catalog at position %d: %w", at, b.err)
	}
	return b.catalog, nil
}

// recallOrJoin gives the catalog if it is kept, and otherwise a build that the caller waits for.
func (p *Past) recallOrJoin(ctx context.Context, at eventstore.Position) (*catalog.Catalog, *build) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.kept.recall(at); c != nil {
		return c, nil
	}
	b := p.builds[at]
	if b == nil {
		b = &build{done: make(chan struct{})}
		ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
		p.builds[at] = b
		go p.run(ctx, at, b) // ends soon after its last caller has left
	}
	b.waiting++
	return nil, b
}

// leave says that a caller does not wait any more.
func (p *Past) leave(at eventstore.Position, b *build) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.waiting--
	if b.waiting == 0 {
		b.cancel()
		p.forget(at, b)
	}
}

// forget removes a build, so that the next caller begins another one. REQUIRES: mu is held.
func (p *Past) forget(at eventstore.Position, b *build) {
	if p.builds[at] == b {
		delete(p.builds, at)
	}
}

// run builds a catalog in a slot, keeps it and ends the wait of all callers.
func (p *Past) run(ctx context.Context, at eventstore.Position, b *build) {
	var w *way
	if b.err = p.slot(ctx); b.err == nil {
		w, b.err = p.build(ctx, at, true)
		<-p.slots
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(at, b)
	if b.err == nil {
		b.catalog = w.catalog
		p.kept.add(w.of, append(w.passed, past{at, w.catalog}))
	}
	close(b.done)
}

// slot waits until a catalog may be built. REQUIRES: the caller takes a token from slots afterwards.
func (p *Past) slot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// way is how a catalog was made.
type way struct {
	of      *family
	passed  []past // catalogs on the way
	catalog *catalog.Catalog
}

// build makes a catalog that nobody else has. keep says that the catalogs on the way are wanted, too.
func (p *Past) build(ctx context.Context, at eventstore.Position, keep bool) (*way, error) {
	w, from, err := p.begin(at, keep)
	if err != nil || from >= at {
		return w, err
	}
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	// An event that cannot be applied was logged when the live catalog got it.
	ignored := func(*eventstore.RecordedEvent, *catalog.Entry, *catalog.Entry, error) {}
	applied := 0
	for events, err := range projections.ReadAhead(ctx, p.store, eventstore.ReadAllOptions{After: from, To: at, Filter: filter}) {
		if err != nil {
			return nil, err
		}
		w.catalog.ApplyAll(events, ignored)
		if applied += len(events); keep && applied >= max(wayEvents, w.catalog.Len()/2) {
			w.passed = append(w.passed, past{events[len(events)-1].Position, w.catalog.Clone()})
			applied = 0
		}
	}
	return w, nil
}

// begin makes the catalog with which to begin: a clone of the nearest one that is kept, or the nearest snapshot if that is nearer.
func (p *Past) begin(at eventstore.Position, keep bool) (w *way, from eventstore.Position, err error) {
	marks, err := p.snapshots.Marks()
	if err != nil {
		return nil, 0, err
	}
	saved := eventstore.Position(0) // of the nearest snapshot
	for _, m := range marks {
		if m.Position <= at {
			saved = m.Position
		}
	}
	p.mu.Lock()
	near, of := p.kept.nearest(at)
	p.mu.Unlock()
	if of != nil && near.at >= saved {
		return &way{of: of, catalog: near.catalog.Clone()}, near.at, nil
	}
	w = &way{of: new(family), catalog: catalog.New()}
	mark, err := p.snapshots.Newest(at, func(state io.Reader) error {
		loaded, err := catalog.LoadShared(state)
		if err == nil {
			w.catalog = loaded
		}
		return err
	})
	if err == nil && keep && mark.Position < at {
		w.passed = append(w.passed, past{mark.Position, w.catalog.Clone()})
	}
	return w, mark.Position, err
}

// MaxMissed is how many lifecycle events Missed reads at most.
const MaxMissed = 50_000

// Missed gives the changes to some services after a position and up to another, as the feed would have given them. The
// zero key gives the changes to all services. ok is false when there are more than MaxMissed events.
func (p *Past) Missed(ctx context.Context, keys []domain.ServiceKey, after, upTo eventstore.Position) (changes []*feed.Change, ok bool, err error) {
	if err := p.slot(ctx); err != nil {
		return nil, false, err
	}
	defer func() { <-p.slots }()
	var filter eventstore.Filter
	for _, key := range keys {
		prefix := eventstore.LifecyclePrefix
		if key != (domain.ServiceKey{}) {
			prefix += key.String() + "/"
		}
		filter.StreamPrefixes = append(filter.StreamPrefixes, prefix)
	}
	opts := eventstore.ReadAllOptions{After: after, To: upTo, Filter: filter, Limit: MaxMissed + 1}
	var events []eventstore.RecordedEvent
	for e, err := range p.store.ReadAll(ctx, opts) {
		if err != nil {
			return nil, false, err
		}
		events = append(events, e)
		if len(events) > MaxMissed {
			return nil, false, nil
		}
	}
	if len(events) == 0 {
		return nil, true, nil
	}
	w, err := p.build(ctx, after, false)
	if err != nil {
		return nil, false, err
	}
	w.catalog.ApplyAll(events, func(e *eventstore.RecordedEvent, before, entry *catalog.Entry, err error) {
		if err == nil && before != entry {
			changes = append(changes, &feed.Change{Event: *e, Service: serviceOf(before, entry), Before: before, After: entry})
		}
	})
	return changes, true, nil
}

func serviceOf(before, after *catalog.Entry) domain.ServiceKey {
	if after == nil {
		after = before
	}
	return after.Service()
}
