// Package asof gives the catalog at any past position: the nearest saved snapshot at or before it,
// and the lifecycle events from there.
package asof

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// remembered is how many past catalogs are kept: those who look at a moment look at it again.
const remembered = 4

// Past makes catalogs of past positions. It may be used from any goroutine.
type Past struct {
	store     eventstore.Store
	snapshots projections.Snapshots
	building  singleflight.Group
	replaying chan struct{} // holds a token for each Missed under way

	mu     sync.Mutex
	recent []moment // newest use first
}

type moment struct {
	at      eventstore.Position
	catalog *catalog.Catalog
}

// New is a Past over a store and the snapshots that the live catalog leaves behind.
func New(store eventstore.Store, snapshots projections.Snapshots) *Past {
	return &Past{store: store, snapshots: snapshots, replaying: make(chan struct{}, 2)}
}

// At is the catalog as it was when the event at the position, and none after it, had been applied.
// It must not be changed.
func (p *Past) At(ctx context.Context, at eventstore.Position) (*catalog.Catalog, error) {
	if c := p.recall(at); c != nil {
		return c, nil
	}
	// Whoever asks first does the work for all who ask meanwhile, even if its own request ends.
	shared := context.WithoutCancel(ctx)
	built, err, _ := p.building.Do(fmt.Sprint(at), func() (any, error) { return p.build(shared, at) })
	if err != nil {
		return nil, fmt.Errorf("catalog at position %d: %w", at, err)
	}
	p.remember(at, built.(*catalog.Catalog))
	return built.(*catalog.Catalog), nil
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
	// What cannot be applied was counted and logged when the live catalog met it.
	ignored := func(*eventstore.RecordedEvent, *catalog.Entry, *catalog.Entry, error) {}
	events := make([]eventstore.RecordedEvent, 0, 256) // enough for ApplyAll to be quicker than Apply
	for e, err := range p.store.ReadAll(ctx, eventstore.ReadAllOptions{After: from.Position, To: at, Filter: filter}) {
		if err != nil {
			return nil, err
		}
		if events = append(events, e); len(events) == cap(events) {
			c.ApplyAll(events, ignored)
			events = events[:0]
		}
	}
	c.ApplyAll(events, ignored)
	return c, nil
}

// MaxMissed is how many lifecycle events Missed goes through.
const MaxMissed = 50_000

// Missed gives what changed in a service (the zero key: in any) after a position and up to another,
// as the feed would have told it. ok is false when that is too much.
func (p *Past) Missed(ctx context.Context, key domain.ServiceKey, after, upTo eventstore.Position) (changes []*feed.Change, ok bool, err error) {
	select { // a snapshot in memory each: not for everyone at once
	case p.replaying <- struct{}{}:
		defer func() { <-p.replaying }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	if key != (domain.ServiceKey{}) {
		filter.StreamPrefixes[0] += key.String() + "/"
	}
	opts := eventstore.ReadAllOptions{After: after, To: upTo, Filter: filter, Limit: MaxMissed + 1}
	var events []eventstore.RecordedEvent
	for e, err := range p.store.ReadAll(ctx, opts) {
		if err != nil {
			return nil, false, err
		}
		if events = append(events, e); len(events) > MaxMissed {
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

func (p *Past) recall(at eventstore.Position) *catalog.Catalog {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.recent {
		if m.at == at {
			copy(p.recent[1:i+1], p.recent[:i])
			p.recent[0] = m
			return m.catalog
		}
	}
	return nil
}

func (p *Past) remember(at eventstore.Position, c *catalog.Catalog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.recent {
		if m.at == at {
			return
		}
	}
	p.recent = append([]moment{{at, c}}, p.recent[:min(len(p.recent), remembered-1)]...)
}
