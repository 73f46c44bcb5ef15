// Package asof gives the catalog at any past position. It takes the nearest snapshot at or before the position and applies
// the lifecycle events after it.
package asof

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// Limits. A catalog of the past takes as much memory as the live catalog, so the number that is built or kept at a time
// must not depend on the number that clients ask for.
const (
	// building is how many catalogs are built at once. Further callers wait.
	building = 2
	// A few catalogs are kept, because clients often ask for one position several times: at most keptCatalogs, with at
	// most keptInstances together. The newest is always kept.
	keptCatalogs  = 4
	keptInstances = 250_000
)

// Past makes catalogs of past positions. It may be used from any goroutine.
type Past struct {
	store     eventstore.Store
	snapshots projections.Snapshots
	slots     chan struct{} // holds a token for each catalog that is being built; never closed

	mu     sync.Mutex
	recent []past                         // the kept catalogs, newest use first
	builds map[eventstore.Position]*build // under way
}

// past is a catalog at a position.
type past struct {
	at      eventstore.Position
	catalog *catalog.Catalog
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
	if c := p.recall(at); c != nil {
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
	if b.err = p.slot(ctx); b.err == nil {
		b.catalog, b.err = p.build(ctx, at)
		<-p.slots
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(at, b)
	if b.err == nil {
		p.remember(at, b.catalog)
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

func (p *Past) build(ctx context.Context, at eventstore.Position) (*catalog.Catalog, error) {
	c := catalog.New()
	from, err := p.snapshots.Newest(at, func(state io.Reader) (err error) {
		loaded, err := catalog.LoadShared(state)
		if err == nil {
			c = loaded
		}
		return err
	})
	if err != nil || from.Position >= at {
		return c, err
	}
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	// An event that cannot be applied was logged when the live catalog got it.
	ignored := func(*eventstore.RecordedEvent, *catalog.Entry, *catalog.Entry, error) {}
	events := make([]eventstore.RecordedEvent, 0, 256) // enough events for ApplyAll to be faster than Apply
	for e, err := range p.store.ReadAll(ctx, eventstore.ReadAllOptions{After: from.Position, To: at, Filter: filter}) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		if len(events) == cap(events) {
			c.ApplyAll(events, ignored)
			events = events[:0]
		}
	}
	c.ApplyAll(events, ignored)
	return c, nil
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
	c, err := p.build(ctx, after)
	if err != nil {
		return nil, false, err
	}
	c.ApplyAll(events, func(e *eventstore.RecordedEvent, before, entry *catalog.Entry, err error) {
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

// recall gives a kept catalog; nil: there is none at the position. REQUIRES: mu is held.
func (p *Past) recall(at eventstore.Position) *catalog.Catalog {
	for i, m := range p.recent {
		if m.at == at {
			copy(p.recent[1:i+1], p.recent[:i])
			p.recent[0] = m
			return m.catalog
		}
	}
	return nil
}

// remember keeps a catalog, and drops the catalogs that were not used for the longest time. REQUIRES: mu is held.
func (p *Past) remember(at eventstore.Position, c *catalog.Catalog) {
	p.recent = slices.Insert(p.recent, 0, past{at, c})
	instances := 0
	for i, m := range p.recent {
		instances += m.catalog.Len()
		if i > 0 && (i == keptCatalogs || instances > keptInstances) {
			clear(p.recent[i:])
			p.recent = p.recent[:i]
			return
		}
	}
}
