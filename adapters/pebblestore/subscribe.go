package pebblestore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	catchUpBatch = 1024 // events that Next returns at once from disk
	liveBuffer   = 64   // commits in a subscription's buffer; when it is full, the subscription reads from disk again
)

// hub gives each commit to the live subscriptions. It never waits for a subscriber.
type hub struct {
	mu        sync.Mutex
	published eventstore.Position
	live      []*subscription // urgent subscriptions first: the goroutine that is woken first runs first
	closed    bool
}

// published holds the events of a durable commit.
//
// INVARIANT: a commit goes back to the pool when holders has come down to 0. Each holder calls release once: the hub when it
// has sent the commit to all live subscriptions; a subscription when its next call of Next begins, or at once where it copies
// events or its filter skips heartbeats. A holder may read events until then and must not change them. A commit in the buffer of a subscription that is closed, or sent back to disk, is
// never released, and the garbage collector takes it. What the fields of an event point to is never used again, so a
// reader may keep an event that it has copied.
type published struct {
	events         []eventstore.RecordedEvent // in position order
	onlyHeartbeats bool                       // all events are heartbeats
	holders        atomic.Int32               // how many holders have not called release
}

// publications is the pool of what answerCommits has published: most of what a store allocates for heartbeats is their events.
var publications = sync.Pool{New: func() any { return new(published) }}

func (p *published) release() {
	if p.holders.Add(-1) == 0 {
		if !p.onlyHeartbeats { // the data of heartbeats are shared by all
			clear(p.events)
		}
		publications.Put(p)
	}
}

// publish sends a commit to the live subscriptions. A subscription whose buffer is full is no longer live.
func (h *hub) publish(p *published) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.published = p.events[len(p.events)-1].Position
	p.holders.Store(int32(len(h.live)) + 1)
	defer p.release()
	h.live = slices.DeleteFunc(h.live, func(s *subscription) bool {
		if s.skips(p) {
			s.skipped = h.published
			p.release()
			return false
		}
		select {
		case s.commits <- p:
			return false
		default: // the buffer is full: the subscription reads from disk again
			close(s.commits)
			return true
		}
	})
}

// join makes the subscription live: it gets all commits after the returned position.
func (h *hub) join(s *subscription) (eventstore.Position, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, eventstore.ErrClosed
	}
	s.commits = make(chan *published, liveBuffer)
	if s.urgent {
		h.live = slices.Insert(h.live, 0, s)
	} else {
		h.live = append(h.live, s)
	}
	return h.published, nil
}

func (h *hub) leave(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = slices.DeleteFunc(h.live, func(other *subscription) bool { return other == s })
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.live {
		close(s.commits)
	}
	h.live = nil
}

// subscription is used by one goroutine, except for Close, which any goroutine may call.
type subscription struct {
	store           *Store
	urgent          bool
	filter          eventstore.Filter
	skipsHeartbeats bool                       // the filter picks no heartbeat
	gathers         bool                       // Next gives all commits in the buffer at once, up to catchUpBatch events
	onlyPicked      bool                       // a commit of which the filter picks nothing does not wake it
	skipped         eventstore.Position        // of the newest commit that did not wake it. The hub's until it closes commits
	position        eventstore.Position        // events up to here were given, or the filter did not pick them
	commits         chan *published            // nil: it reads from disk; the hub closes it when its buffer is full, or when the store closes
	joinedAt        eventstore.Position        // commits has all events after this position
	batch           []eventstore.RecordedEvent // what Next gave last
	names           names                      // those that reading from disk needed, until it is live
	held            *published                 // batch is a part of its events; nil: batch has memory of its own
	gathered        []eventstore.RecordedEvent // the memory of a batch of several commits
	done            chan struct{}
	close           sync.Once
}

// Subscribe implements eventstore.Store.
func (s *Store) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	select {
	case <-s.closing:
		return nil, eventstore.ErrClosed
	default:
	}
	return &subscription{
		store: s, urgent: opts.Urgent, filter: opts.Filter, skipsHeartbeats: opts.Filter.SkipsHeartbeats(), onlyPicked: opts.OnlyPicked, gathers: opts.Gather,
		position: opts.After, names: names{store: s}, done: make(chan struct{}),
	}, ctx.Err()
}

// Next implements eventstore.Subscription.
func (s *subscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	if s.held != nil {
		s.batch = nil
		s.letGo()
	}
	clear(s.gathered)
	s.gathered = s.gathered[:0]
	for {
		select {
		case <-s.done:
			return nil, s.position, eventstore.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return nil, s.position, err
		}
		var err error
		if s.commits != nil && s.position >= s.joinedAt {
			err = s.takeLive(ctx)
		} else {
			err = s.catchUp(ctx)
		}
		if err != nil || len(s.batch) > 0 {
			return s.batch, s.position, err
		}
	}
}

// catchUp reads the next events from disk. Near the head it joins the live subscriptions first, so that no event is
// missing between the events from disk and the commits from the hub.
func (s *subscription) catchUp(ctx context.Context) error {
	target := eventstore.Position(s.store.durable.Load())
	if s.commits == nil && target < s.position+catchUpBatch {
		var err error
		if s.joinedAt, err = s.store.hub.join(s); err != nil {
			return err
		}
	}
	if s.commits != nil {
		target = s.joinedAt
	}
	s.batch = s.batch[:0:0] // the old batch may be a commit's, so its memory is not used
	if target <= s.position {
		return nil
	}
	opts := eventstore.ReadAllOptions{After: s.position, To: target, Filter: s.filter, Limit: catchUpBatch}
	for e, err := range s.store.readAll(ctx, opts, &s.names) {
		if err != nil {
			return err
		}
		s.batch = append(s.batch, e)
	}
	s.position = target
	if len(s.batch) == catchUpBatch {
		s.position = s.batch[len(s.batch)-1].Position
	}
	return nil
}

// takeLive waits for the next commit and picks events from it.
func (s *subscription) takeLive(ctx context.Context) error {
	s.batch, s.names = nil, names{store: s.store}
	select {
	case p, ok := <-s.commits:
		if !ok {
			s.commits, s.position = nil, max(s.position, s.skipped)
			return nil
		}
		after := s.reach(p)
		if first, end := s.picked(p.events, after); end < 0 {
			s.batch = s.appendPicked(s.batch, p, after)
		} else if first == end {
			p.release()
		} else {
			s.batch, s.held = p.events[first:end:end], p
		}
		if s.gathers {
			s.gather()
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return eventstore.ErrClosed
	}
}

// reach makes the position that of a commit. after is the position before, which is after the events of the commit where the subscription
// began at a future position.
func (s *subscription) reach(p *published) (after eventstore.Position) {
	after = s.position
	s.position = max(after, p.events[len(p.events)-1].Position)
	return after
}

// appendPicked appends copies of the events of a commit that the filter picks, and releases the commit.
func (s *subscription) appendPicked(into []eventstore.RecordedEvent, p *published, after eventstore.Position) []eventstore.RecordedEvent {
	defer p.release()
	for i := range p.events {
		if e := &p.events[i]; s.picks(e, after) {
			into = append(into, *e)
		}
	}
	return into
}

// gather adds to the batch what other commits in the buffer have.
func (s *subscription) gather() {
	if len(s.batch) >= catchUpBatch || len(s.commits) == 0 {
		return
	}
	s.gathered = append(s.gathered, s.batch...)
	s.letGo()
	for len(s.gathered) < catchUpBatch && len(s.commits) > 0 { // nobody else takes them out
		p := <-s.commits
		s.gathered = s.appendPicked(s.gathered, p, s.reach(p))
	}
	s.batch = s.gathered
}

// letGo releases the commit that the batch is a part of, if it is one's.
func (s *subscription) letGo() {
	if s.held != nil {
		s.held.release()
		s.held = nil
	}
}

// skips says whether the subscription is not woken for a commit.
func (s *subscription) skips(p *published) bool {
	if p.onlyHeartbeats && s.skipsHeartbeats {
		return true
	}
	if !s.onlyPicked {
		return false
	}
	for i := range p.events {
		if e := &p.events[i]; s.filter.Match(e.Stream, e.Type) {
			return false
		}
	}
	return true
}

func (s *subscription) picks(e *eventstore.RecordedEvent, after eventstore.Position) bool {
	return e.Position > after && s.filter.Match(e.Stream, e.Type)
}

// picked is the part of a commit's events that the filter picks after a position, where the picked events follow one another, as
// they nearly always do: then nothing needs a copy. end is -1 where they do not.
func (s *subscription) picked(events []eventstore.RecordedEvent, after eventstore.Position) (first, end int) {
	if events[0].Position > after && len(s.filter.StreamPrefixes) == 0 && len(s.filter.Types) == 0 {
		return 0, len(events)
	}
	for first < len(events) && !s.picks(&events[first], after) {
		first++
	}
	for end = first; end < len(events) && s.picks(&events[end], after); {
		end++
	}
	for i := end; i < len(events); i++ {
		if s.picks(&events[i], after) {
			return first, -1
		}
	}
	return first, end
}

// Close implements eventstore.Subscription.
func (s *subscription) Close() error {
	s.close.Do(func() {
		close(s.done)
		s.store.hub.leave(s)
	})
	return nil
}
