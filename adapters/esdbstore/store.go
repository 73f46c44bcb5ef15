// Package esdbstore is the event store for those who outgrow one machine: EventStoreDB or KurrentDB,
// single or a cluster, which replicates and orders the events for any number of Rollcall nodes.
//
// A position is the commit position in $all. Streams are named as in the embedded store. Events of
// other programs and of the database itself in streams that begin with $ are not seen; those in other
// streams are. recorded_at is the database's, in steps of 100 ns.
package esdbstore

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

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Options says how to use the database. The zero value is right for production, but for Retention.
type Options struct {
	// Retention is set as $maxAge on heartbeat streams, once for each; 0: heartbeats stay.
	Retention time.Duration
	Logger    *slog.Logger // nil: discards
}

const (
	// callTimeout bounds one call to the database.
	callTimeout = 10 * time.Second
	// probeEvery is the time between two looks whether a database that was lost is back.
	probeEvery = 500 * time.Millisecond
	// maxInFlight is how many appends are under way at once; further ones wait.
	maxInFlight = 512
)

// Store is an eventstore.Store over a database. It connects by itself, again and again.
type Store struct {
	config  *esdb.Configuration
	opts    Options
	flights chan struct{} // holds a token for each append under way
	ages    *ages

	closing chan struct{}
	once    sync.Once
	lives   context.Context // ends with the store
	end     context.CancelFunc
	tasks   sync.WaitGroup
	probing chan struct{} // holds a token when someone found the database away
	found   chan struct{} // closed when the database was found the first time

	mu      sync.Mutex
	client  *esdb.Client
	away    atomic.Pointer[error] // why the database cannot be reached; nil: it can
	changed chan struct{}         // closed and replaced when away changes; guarded by mu
}

// Open begins to connect to the database of a connection string: esdb://host:2113?tls=false,
// esdb+discover://…, kurrentdb://…, with all that EventStoreDB's clients know. It does not wait; see Ready.
func Open(connectionString string, opts Options) (*Store, error) {
	if rest, ok := strings.CutPrefix(connectionString, "kurrentdb"); ok { // a newer name of the same protocol
		connectionString = "esdb" + rest
	}
	config, err := esdb.ParseConnectionString(connectionString)
	if err != nil {
		return nil, fmt.Errorf("event store connection string: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	// A client gives up for ever when it finds no node; a new one is made then.
	config.MaxDiscoverAttempts = 1
	config.Logger = func(level esdb.LogLevel, format string, args ...any) {
		opts.Logger.Debug("event store client", "says", fmt.Sprintf(format, args...))
	}
	s := &Store{
		config: config, opts: opts, flights: make(chan struct{}, maxInFlight), closing: make(chan struct{}), probing: make(chan struct{}, 1),
		found: make(chan struct{}), changed: make(chan struct{}),
	}
	s.lives, s.end = context.WithCancel(context.Background())
	unknown := fmt.Errorf("%w: it was not reached yet", eventstore.ErrUnavailable)
	s.away.Store(&unknown)
	s.ages = newAges(s)
	s.probing <- struct{}{}
	s.tasks.Go(s.probe)
	s.tasks.Go(s.ages.run)
	return s, nil
}

// Ready waits until the database was reached.
func (s *Store) Ready(ctx context.Context) error {
	select {
	case <-s.found:
		return nil
	case <-s.closing:
		return eventstore.ErrClosed
	case <-ctx.Done():
		return errors.Join(s.Err(), ctx.Err())
	}
}

// Err is why the database cannot be reached, or nil.
func (s *Store) Err() error {
	if err := s.away.Load(); err != nil {
		return *err
	}
	return nil
}

// connection gives the client, unless the database is known to be away.
func (s *Store) connection() (*esdb.Client, error) {
	select {
	case <-s.closing:
		return nil, eventstore.ErrClosed
	default:
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client, nil
}

// lost notes that the database is away; whoever probes finds out when it is back.
func (s *Store) lost(cause error) {
	err := fmt.Errorf("%w: %w", eventstore.ErrUnavailable, cause)
	if s.away.CompareAndSwap(nil, &err) {
		s.opts.Logger.Error("the event store cannot be reached; it is looked for", "cause", cause)
		s.tell()
	}
	select {
	case s.probing <- struct{}{}:
	default: // it is looked for already
	}
}

func (s *Store) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// waitFor waits until the database can be reached, as far as is known.
func (s *Store) waitFor(ctx context.Context) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		err := s.Err()
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-s.closing:
			return eventstore.ErrClosed
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// probe looks for the database whenever it is away.
func (s *Store) probe() {
	said := time.Time{}
	for {
		select {
		case <-s.closing:
			return
		case <-s.probing:
		}
		for {
			err := s.connect()
			if err == nil {
				break
			}
			wrapped := fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
			s.away.Store(&wrapped)
			if time.Since(said) > 10*time.Second {
				said = time.Now()
				s.opts.Logger.Warn("the event store cannot be reached; trying again", "cause", err)
			}
			select {
			case <-s.closing:
				return
			case <-time.After(probeEvery):
			}
		}
	}
}

// connect makes a client and asks the database something.
func (s *Store) connect() error {
	client, err := esdb.NewClient(s.config)
	if err != nil {
		return err
	}
	_, err = run(s, s.lives, func(ctx context.Context) (struct{}, error) {
		r, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
		if err != nil {
			return struct{}{}, err
		}
		defer r.Close()
		_, err = r.Recv()
		if errors.Is(err, io.EOF) { // an empty database
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.client = client // the one before is left to the garbage collector: closing it would fail its users
	s.mu.Unlock()
	s.away.Store(nil)
	s.tell()
	select {
	case <-s.found:
		s.opts.Logger.Info("the event store is back")
	default:
		close(s.found)
	}
	return nil
}

// run carries out a call in a goroutine of its own: the client may wait for a connection without
// regard to the context.
func run[T any](s *Store, ctx context.Context, call func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := call(ctx)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case <-s.closing:
		var none T
		return none, eventstore.ErrClosed
	}
}

// Timelines implements eventstore.Store. A database that was restored from a backup does not say so: its
// positions are taken for what they were before.
func (s *Store) Timelines() eventstore.Timelines { return eventstore.Timelines{} }

// Close implements eventstore.Store.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.end()
		s.tasks.Wait()
		s.mu.Lock()
		client := s.client
		s.mu.Unlock()
		if client != nil {
			for range maxInFlight { // a client that is closed under a call panics
				s.flights <- struct{}{}
			}
			_ = client.Close() // it has no error to give
		}
	})
	return nil
}

// verdict says what to make of a client's error.
type verdict int

const (
	fatal verdict = iota // say so to the caller
	again                // the outcome is unknown, or nothing was done: do it again
	conflict
)

// judge maps the client's errors to the port's.
func (s *Store) judge(err error) (verdict, error) {
	var coded *esdb.Error
	switch {
	case errors.Is(err, eventstore.ErrClosed):
		return fatal, err
	case errors.As(err, &coded):
	case errors.Is(err, context.Canceled):
		return fatal, err
	case errors.Is(err, context.DeadlineExceeded):
		return again, err
	default:
		return fatal, err
	}
	switch coded.Code() {
	case esdb.ErrorCodeWrongExpectedVersion:
		return conflict, err
	case esdb.ErrorUnavailable, esdb.ErrorCodeConnectionClosed:
		s.lost(err)
		return again, err
	case esdb.ErrorCodeNotLeader, esdb.ErrorAborted, esdb.ErrorCodeDeadlineExceeded:
		return again, err
	case esdb.ErrorCodeAccessDenied, esdb.ErrorCodeUnauthenticated:
		return fatal, fmt.Errorf("%w: %w", eventstore.ErrAccessDenied, err)
	}
	if errors.Is(err, context.Canceled) {
		return fatal, context.Canceled
	}
	return fatal, err
}
