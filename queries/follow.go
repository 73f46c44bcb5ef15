package queries

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// keepAlive is the time between two KeepAlives. Proxies close a connection on which no byte comes for long.
const keepAlive = 15 * time.Second

// stopping is the reason of a cut when the registry shuts down.
const stopping = "stopping: the registry shuts down; resume with Last-Event-ID"

// Update is one update of a follower: Snapshot, Changes, Events, KeepAlive or Cut.
type Update interface{ update() }

// Snapshot is all there is at a position. A reset replaces what the follower has: changes in between are
// not told.
type Snapshot struct {
	At    eventstore.Position
	Reset bool
	JSON  encoded.Form // a wire.InstanceList of a service, a wire.CatalogSnapshot of more
}

// Changes are changes in order. INVARIANT: the slice belongs to the Following, which uses the memory for the next batch:
// the slice is valid until the next call of Next.
type Changes []Changed

// Changed is a change for one follower.
type Changed struct {
	*feed.Change
	Put      bool   // the follower must put the instance into its copy; otherwise delete the instance
	timeline string // of the change
}

// KeepAlive carries no news. It shows that the stream is alive.
type KeepAlive struct{ Note string }

// Cut is the last update. The follower can go on after the position.
type Cut struct {
	At     eventstore.Position
	Reason string
}

func (Snapshot) update()  {}
func (Changes) update()   {}
func (KeepAlive) update() {}
func (Cut) update()       {}

// FollowQuery says what to follow: a service, several services, or the whole catalog.
type FollowQuery struct {
	Service domain.ServiceKey // zero: not one service
	// Services are the services to follow, at most MaxFollowed, each once, in the order of catalog.ByName; none: all.
	Services  []domain.ServiceKey
	Namespace string // without Service and Services: of this namespace; "": of every namespace
	Filter    InstanceFilter
	Visible   Visible        // limits what is told of more than one service; nil: all is told
	After     *wire.Position // the follower has been told of everything up to here; nil: it begins anew
	// Tell is called in place of ending a Wait where many follow the same; nil: each Wait ends. false: the Wait is to end. Tell may call
	// TakeChanges. It must not wait, and is as tell of feed.Feed.WatchBy otherwise.
	Tell func() bool
}

// MaxFollowed is how many services one follower may name.
const MaxFollowed = 2_000

// keys are the services that the query names; the zero key stands for all.
func (q *FollowQuery) keys() []domain.ServiceKey {
	if len(q.Services) > 0 {
		return q.Services
	}
	return []domain.ServiceKey{q.Service}
}

// ParseFollowed reads the values of the parameter service, each a service of the namespace ns ("": the default
// namespace) or namespace/service.
func ParseFollowed(ns string, names []string) (keys []domain.ServiceKey, err error) {
	if ns == "" {
		ns = domain.DefaultNamespace
	}
	for _, name := range names {
		key := domain.ServiceKey{Namespace: ns, Service: name}
		if namespace, service, both := strings.Cut(name, "/"); both {
			key = domain.ServiceKey{Namespace: namespace, Service: service}
		}
		if err := key.Validate(); err != nil {
			return nil, domain.InvalidField{Field: "service", Rule: "must be a service, or namespace/service: " + err.Error()}
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, catalog.ByName)
	if keys = slices.Compact(keys); len(keys) > MaxFollowed {
		return nil, domain.InvalidField{Field: "service", Rule: fmt.Sprintf("must name at most %d services", MaxFollowed)}
	}
	return keys, nil
}

// Following gives the changes of the catalog, or of one service, to one follower. The follower must call Close. One goroutine at a time
// uses a Following, but for Wait.
type Following struct {
	service *Service
	query   FollowQuery
	keys    []domain.ServiceKey // of the query
	next    func(context.Context) (Update, error)
	at      eventstore.Position // the follower has been told of everything up to here
	level   bool                // the last Take had nothing to give, and next is live
	looked  atomic.Bool         // since the feed was last looked at, changed has a token for each change
	batch   Changes
	changed chan struct{} // gets a token also when due is set
	release func()        // gives back what the last update holds; nil: it holds nothing
	unwatch func()
	quiet   *time.Timer // sets due each keepAlive. A ticker's channel would make each wait longer.
	due     atomic.Bool // a KeepAlive is due
	panics  panics
}

// Follow makes a Following. The first update is a snapshot, unless the follower goes on after a position.
func (s *Service) Follow(ctx context.Context, q FollowQuery) (*Following, error) {
	if q.Namespace != "" {
		if err := domain.ValidateLabel("ns", q.Namespace); err != nil {
			return nil, err
		}
	}
	if q.Filter.MaxSilence > 0 {
		return nil, q.Filter.refuseSilence("a stream", silenceChanges)
	}
	f := &Following{service: s, query: q, keys: q.keys()}
	f.beginPanics()
	f.next = func(ctx context.Context) (Update, error) { return f.snapshot(ctx, q.After != nil) }
	if q.After != nil && s.known(*q.After) {
		head, err := s.Store.Head(ctx)
		if err != nil {
			return nil, err
		}
		// A position that was not given yet is of a log that is lost: this one was made anew, or lost its end.
		if q.After.Number <= head && f.resumes() {
			f.at, f.next = q.After.Number, f.resume
			f.due.Store(true) // so that a follower that missed nothing is told so at once
		}
	}
	if s.Stopping.Err() != nil {
		return nil, eventstore.ErrClosed
	}
	f.changed, f.unwatch = s.Live.Feed().WatchBy(q.Tell, f.keys...)
	f.quiet = time.AfterFunc(keepAlive, f.remind)
	return f, nil
}

// Close ends the following.
func (f *Following) Close() {
	f.letGo()
	f.unwatch()
	f.quiet.Stop()
}

// remind makes the next wait end with a KeepAlive, unless there are changes.
func (f *Following) remind() {
	f.due.Store(true)
	select {
	case f.changed <- struct{}{}:
	default: // the follower is to look anyway
	}
}

// Next waits for the next update. After a Cut, Next returns io.EOF. After an error there are no further updates.
func (f *Following) Next(ctx context.Context) (Update, error) {
	for {
		if update, err := f.Take(ctx); update != nil || err != nil {
			return update, err
		}
		if err := f.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// Take is Next where an update is there; nil: there is none now.
func (f *Following) Take(ctx context.Context) (Update, error) {
	f.letGo()
	f.level = false
	return f.next(ctx)
}

// TakeChanges gives the changes that there are, of which a Take that gave nothing did not know yet. more: Take is to be called, which may
// have anything to tell. TakeChanges does not wait.
func (f *Following) TakeChanges() (told Changes, more bool) {
	if !f.level || f.service.Stopping.Err() != nil || !f.service.Live.Thresholds().None() {
		return nil, true
	}
	f.looked.Store(true) // before the look, as in live
	changes, ok := f.service.Live.Feed().SinceAny(f.keys, f.at)
	if !ok {
		f.looked.Store(false)
		return nil, true
	}
	return f.pick(changes), false
}

// Wait waits until Take may have an update. Any goroutine may use the Following meanwhile.
func (f *Following) Wait(ctx context.Context) error {
	select {
	case <-f.changed:
		f.looked.Store(false)
	case <-ctx.Done():
		return ctx.Err()
	case <-f.service.Stopping.Done():
	}
	return nil
}

func (f *Following) letGo() {
	if f.release != nil {
		f.release()
		f.release = nil
	}
}

// snapshot gives the catalog at its position. The feed has the changes after that position.
func (f *Following) snapshot(ctx context.Context, reset bool) (Update, error) {
	made, err := f.service.snapshot(ctx, &f.query)
	if err != nil {
		return nil, err
	}
	f.next, f.at = f.live, made.at
	f.panics.told, f.panics.unsure = made.panics, false
	return Snapshot{At: f.at, Reset: reset, JSON: made.form}, nil
}

// snapshot is what a follower begins with. Followers with the same query at one position share the snapshot.
func (s *Service) snapshot(ctx context.Context, q *FollowQuery) (made, error) {
	name := fmt.Sprintf("snapshot %s %v %s", q.Namespace, q.keys(), q.Filter.Text())
	if q.Visible != nil {
		name += fmt.Sprintf(" for %p", q) // it is shared with nobody
	}
	at := s.Live.Feed().Position()
	if s.Live.Thresholds().None() {
		if form, ok := s.work.find(fmt.Sprint(name, "@", at)); ok {
			return made{form: form, at: at}, nil
		}
	}
	take := func() made { return s.takeSnapshot(name, q) }
	if s.entries(q.keys()) < heavyEntries {
		return take(), nil
	}
	return s.work.do(ctx, name, take)
}

// entries is how many instances there are of some services, or with the zero key at all.
func (s *Service) entries(keys []domain.ServiceKey) (total int) {
	for _, key := range keys {
		if key == (domain.ServiceKey{}) {
			return s.Live.Catalog().Len()
		}
		total += len(s.Live.Catalog().View(key).Entries)
	}
	return total
}

func (s *Service) takeSnapshot(name string, q *FollowQuery) (taken made) {
	if q.Service == (domain.ServiceKey{}) {
		var views []*catalog.View
		var at eventstore.Position
		if len(q.Services) > 0 {
			views, at = s.Live.SnapshotOf(q.Services)
		} else {
			views, at = s.Live.SnapshotAll(q.Namespace)
		}
		views = q.Visible.views(views)
		panics := s.panicsIn(views)
		return made{at: at, panics: panics, form: s.work.keep(fmt.Sprint(name, "@", at, panics.text()), func() encoded.Form {
			return encodeServices(wire.CatalogSnapshot{Position: s.At(at), Services: []wire.ServiceInstances{}}, views, panics.given(q.Filter))
		})}
	}
	view, at := s.Live.Snapshot(q.Service)
	panics := s.panicsIn([]*catalog.View{view})
	filter, panicking := panics.given(q.Filter)(view)
	return made{at: at, panics: panics, form: s.work.keep(fmt.Sprint(name, "@", at, panics.text()), func() encoded.Form {
		frame := wire.InstanceList{Service: q.Service.Service, Namespace: q.Service.Namespace, Position: s.At(at), Panic: panicking}
		return s.lists.encode(frame, view, filter)
	})}
}

// resume goes on after a position: with the changes of the feed, or if the feed does not have them any more, of the store.
func (f *Following) resume(ctx context.Context) (Update, error) {
	if _, ok := f.service.Live.Feed().SinceAny(f.keys, f.at); ok {
		return f.live(ctx)
	}
	f.next = f.catchUp
	return KeepAlive{"catching up"}, nil
}

// catchUp tells what the store has, or if that is too much begins anew with a reset. So it does when others are
// catching up: what they missed is held in memory until they have read it.
func (f *Following) catchUp(ctx context.Context) (Update, error) {
	if f.release = f.service.work.catchUp(ctx); f.release == nil {
		return f.snapshot(ctx, true)
	}
	upTo := f.service.Live.Feed().Position()
	changes, ok, err := f.service.Past.Missed(ctx, f.keys, f.at, upTo)
	if err != nil {
		return nil, err
	}
	if !ok {
		return f.snapshot(ctx, true)
	}
	f.next = f.live
	told := f.pick(changes)
	f.at = max(f.at, upTo)
	return told, nil
}

// live gives the changes in the feed. What changes while the follower writes is told in one batch.
func (f *Following) live(ctx context.Context) (Update, error) {
	f.next = f.live
	if f.service.Stopping.Err() != nil {
		return f.cut(stopping), nil
	}
	if !f.looked.Swap(true) { // before the look, so that a token that comes during the look makes another one
		changes, ok := f.service.Live.Feed().SinceAny(f.keys, f.at)
		if !ok {
			return f.cut(fmt.Sprintf("too slow: more than %d changes behind; resume with Last-Event-ID", feed.Capacity)), nil
		}
		told := f.pick(changes)
		if f.tellPanics(changes) {
			f.next = f.panic
			if len(told) == 0 {
				return f.panic(ctx)
			}
		}
		if len(told) > 0 {
			return told, nil
		}
	}
	if f.due.CompareAndSwap(true, false) {
		f.quiet.Reset(keepAlive)
		return KeepAlive{wire.StillHere}, nil
	}
	f.level = true
	return nil, nil
}

func (f *Following) cut(reason string) Update {
	f.next = func(context.Context) (Update, error) { return nil, io.EOF }
	return Cut{At: f.at, Reason: reason}
}

// keptBatch is the capacity up to which a follower keeps the memory of its batch: a follower that has caught up with many
// changes needs no large batch later.
const keptBatch = 64

// pick gives the changes for the follower. An instance that begins to match the follower's filter is put. An instance
// that no longer matches is deleted.
func (f *Following) pick(changes []*feed.Change) Changes {
	if cap(f.batch) > keptBatch {
		f.batch = nil
	}
	f.batch = f.batch[:0]
	for _, c := range changes {
		if c.Position() <= f.at {
			continue
		}
		f.at = c.Position()
		if !f.follows(c.Service) {
			continue
		}
		filter := f.given(c.Service)
		was, is := c.Before != nil && filter.match(c.Before), c.After != nil && filter.match(c.After)
		if was || is {
			f.batch = append(f.batch, Changed{Change: c, Put: is, timeline: f.service.Timelines().Of(c.Position())})
		}
	}
	return f.batch
}

// follows says whether the follower is told of changes to a service, of those that the feed is asked for.
func (f *Following) follows(key domain.ServiceKey) bool {
	if len(f.query.Services) == 0 && f.query.Service == (domain.ServiceKey{}) && !catalog.Within(f.query.Namespace, key.Namespace) {
		return false
	}
	return f.query.Visible == nil || f.query.Visible(key)
}
