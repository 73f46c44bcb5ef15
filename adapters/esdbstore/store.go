// Package esdbstore is the event store over EventStoreDB or KurrentDB, a single node or a cluster. The database replicates and
// orders the events for any number of Rollcall nodes.
//
// A position is the commit position in $all. Streams have the same names as in the embedded store. Events in streams whose
// names begin with $ are left out; events of other programs in other streams are not. recorded_at is the database's time, in
// steps of 100 ns.
//
// All calls go to the database's leader, so that no decision is made on old events. errors.go says what each answer means,
// leader.go how the leader is found, batch.go how appends reach it.
package esdbstore

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Store is an eventstore.Store over a database. It connects, and connects again after a loss, by itself.
type Store struct {
	target *target
	opts   Options
	ages   *ages

	closing chan struct{} // closed by Close
	once    sync.Once
	lives   context.Context // ends with the store
	end     context.CancelFunc
	tasks   sync.WaitGroup
	lost    chan *answer  // holds the reason why the leader was given up, until the search begins; never closed
	found   chan struct{} // closed when the leader was found the first time
	denied  chan struct{} // closed when access was denied before the leader was found
	refusal error         // the denial; written before denied is closed

	away    atomic.Pointer[error] // why the database cannot be reached; nil: it can
	mu      sync.Mutex            // guards the fields below, and the links' refs
	link    *link                 // to the leader; nil: it is looked for
	since   time.Time             // when the leader was given up; zero: there was none yet
	known   map[string]bool       // addresses of the cluster's nodes
	doubt   map[string]bool       // nodes that led and stopped answering
	changed chan struct{}         // closed and replaced when link changes
}

// Open begins to connect to the database of a connection string: esdb://host:2113?tls=false,
// esdb+discover://…, kurrentdb://…, with the parameters of EventStoreDB's clients. It does not wait; see Ready.
func Open(connectionString string, opts Options) (*Store, error) {
	t, err := parse(connectionString)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Timings = opts.Timings.withDefaults()
	s := &Store{
		target: t, opts: opts, closing: make(chan struct{}), lost: make(chan *answer, 1), found: make(chan struct{}), denied: make(chan struct{}),
		known: make(map[string]bool), doubt: make(map[string]bool), changed: make(chan struct{}),
	}
	if opts.Dial != nil {
		t.dial = append(t.dial, grpc.WithContextDialer(opts.Dial))
	}
	s.learn(t.seeds)
	s.lives, s.end = context.WithCancel(context.Background())
	unknown := fmt.Errorf("%w: it was not reached yet", eventstore.ErrUnavailable)
	s.away.Store(&unknown)
	s.ages = newAges(s)
	s.lost <- &answer{}
	s.tasks.Go(s.lead)
	s.tasks.Go(s.ages.run)
	return s, nil
}

// Ready waits until the database was reached. It fails at once when the database does not let this node in.
func (s *Store) Ready(ctx context.Context) error { return s.reached(ctx, s.denied) }

// Reached waits until the database was reached, however often it did not let this node in before.
func (s *Store) Reached(ctx context.Context) error { return s.reached(ctx, nil) }

func (s *Store) reached(ctx context.Context, denied <-chan struct{}) error {
	select {
	case <-s.found:
		return nil
	default:
	}
	select {
	case <-s.found:
		return nil
	case <-denied:
		return s.refusal
	case <-s.closing:
		return eventstore.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", s.Err(), ctx.Err())
	}
}

// Err is why the database cannot be reached, or nil.
func (s *Store) Err() error {
	if err := s.away.Load(); err != nil {
		return *err
	}
	return nil
}

// acquire gives the link to the leader. While there is none, it waits until Timings.LeaderWait has passed since the leader was
// given up, and fails at once after that: a fail-over delays callers, and a long absence is an error without a delay.
// REQUIRES: the caller calls release.
func (s *Store) acquire(ctx context.Context) (*link, error) {
	for {
		if err := s.ended(ctx); err != nil {
			return nil, err
		}
		s.mu.Lock()
		l, changed, since := s.link, s.changed, s.since
		if l != nil {
			l.refs++
		}
		s.mu.Unlock()
		if l != nil {
			return l, nil
		}
		left := time.Duration(0)
		if !since.IsZero() {
			left = s.opts.Timings.LeaderWait - time.Since(since)
		}
		if left <= 0 {
			if err := s.Err(); err != nil {
				return nil, err
			}
			continue // the leader was found meanwhile
		}
		timeout := time.NewTimer(left)
		select {
		case <-changed:
		case <-timeout.C:
		case <-s.closing:
		case <-ctx.Done():
		}
		timeout.Stop()
	}
}

// ended is why a call must not go on; nil: it may go on.
func (s *Store) ended(ctx context.Context) error {
	select {
	case <-s.closing:
		return eventstore.ErrClosed
	default:
		return ctx.Err()
	}
}

func (s *Store) release(l *link) {
	s.mu.Lock()
	l.refs--
	last := l.replaced && l.refs == 0
	s.mu.Unlock()
	if last {
		l.close()
	}
}

// giveUp begins the search for a leader, unless the link was replaced already.
func (s *Store) giveUp(l *link, why *answer) {
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return
	}
	err := fmt.Errorf("%w: %w", eventstore.ErrUnavailable, why.err)
	s.away.Store(&err)
	s.link, s.since, l.replaced = nil, time.Now(), true
	if why.silent() {
		s.doubt[l.address] = true
	}
	idle := l.refs == 0
	s.tell()
	s.mu.Unlock()
	s.opts.Logger.Warn("the event store's leader was lost; it is looked for", "node", l.address, "cause", why.err)
	l.batch.fail(why)
	l.stop()
	if idle {
		l.close()
	} else if why.leader == "" { // the node named no other leader, so its answers are not waited for
		l.kill()
	}
	s.lost <- why
}

// tell wakes the callers that wait for a change of link. REQUIRES: mu is held.
func (s *Store) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// note keeps the newest reason why there is no leader.
func (s *Store) note(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != nil {
		return // there is a leader
	}
	err := error(a)
	if a.verdict == elsewhere || a.verdict == denied {
		s.away.Store(&err)
	}
	if a.verdict != denied {
		return
	}
	select {
	case <-s.found: // access was granted before, and may be granted again
	case <-s.denied:
	default:
		s.refusal = err
		close(s.denied)
	}
}

// lead looks for a leader whenever there is none, until the store is closed. If each leader is lost as soon as it is found,
// the pauses between the searches grow.
func (s *Store) lead() {
	var pause time.Duration
	var found time.Time
	for {
		var why *answer
		select {
		case <-s.closing:
			return
		case why = <-s.lost:
		}
		if time.Since(found) < s.opts.Timings.Ping {
			pause = min(2*pause+firstPause, maxPause)
		} else {
			pause = 0
		}
		s.mu.Lock()
		doubt := maps.Clone(s.doubt)
		s.mu.Unlock()
		complains := time.AfterFunc(s.opts.Timings.LeaderWait, func() {
			if err := s.Err(); err != nil {
				s.opts.Logger.Error("the event store cannot be reached; it is looked for", "cause", err)
			}
		})
		pauseFor(s.lives, pause)
		s.find(s.lives, why.leader, doubt)
		complains.Stop()
		found = time.Now()
	}
}

// use makes a link the link that acquire gives.
func (s *Store) use(l *link) {
	l.batch = newBatch(s.opts.Timings.Attempt)
	s.mu.Lock()
	if s.ended(s.lives) != nil {
		s.mu.Unlock()
		l.close()
		return
	}
	away := time.Since(s.since)
	s.link, s.doubt = l, make(map[string]bool)
	s.away.Store(nil)
	s.tell()
	s.mu.Unlock()
	s.tasks.Go(func() {
		why := l.batch.run(l.serving, l)
		if why.verdict != elsewhere { // appends get this answer; reads over the link work
			pauseFor(l.serving, s.opts.Timings.Ping)
		}
		if l.serving.Err() == nil {
			s.giveUp(l, why)
		}
	})
	s.tasks.Go(func() { s.ping(l) })
	select {
	case <-s.found:
		s.opts.Logger.Info("the event store is back", "leader", l.address, "after", away.Round(time.Millisecond))
	default:
		close(s.found)
	}
}

// Timelines implements eventstore.Store. A database that was restored from a backup does not say so, so there is one
// timeline.
func (s *Store) Timelines() eventstore.Timelines { return eventstore.Timelines{} }

// Close implements eventstore.Store.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.end()
		s.mu.Lock()
		l := s.link
		s.link = nil
		s.mu.Unlock()
		if l != nil {
			l.close()
		}
		s.tasks.Wait()
	})
	return nil
}
