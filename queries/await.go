package queries

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// MaxWait is the longest wait of a long poll. Await adds a random part, at most a sixteenth of the wait.
const MaxWait = 5 * time.Minute

// Wait is the condition of a long poll: a change after an index.
type Wait struct {
	Index wire.Position
	For   time.Duration
}

// Longest is the longest time that Await takes.
func (w *Wait) Longest() time.Duration { return w.For + w.For/16 }

// ParseWait reads the parameters index and wait of a long poll. Without an index there is nothing to wait for, and the
// answer comes at once (nil): the first request of a client that polls has no index yet.
func ParseWait(index, wait string) (*Wait, error) {
	w := &Wait{For: MaxWait}
	var err error
	if wait != "" {
		if w.For, err = parseLength(wait); err != nil || w.For > MaxWait {
			return nil, domain.InvalidField{Field: "wait", Rule: "must be a duration from 0s to " + MaxWait.String()}
		}
	}
	if index == "" {
		return nil, nil
	}
	if w.Index, err = wire.ParsePosition("index", index); err != nil {
		return nil, err
	}
	return w, nil
}

// Await returns when a service (the zero key: any) has changed after the index, when the wait is over, or when the registry
// stops. The index is the position of the newest change, or one up to which the registry has said that there was none. A
// position of another timeline differs from all of this one.
func (s *Service) Await(ctx context.Context, key domain.ServiceKey, w *Wait) error {
	if !s.known(w.Index) {
		return nil
	}
	// The random part spreads the clients that asked at the same time.
	given := s.Live.Position() // no reply has named a later position
	return s.AwaitUntil(ctx, w.For+rand.N(w.For/16+1), func() bool {
		at := s.changedAt(key)
		return at != w.Index.Number && (at > w.Index.Number || w.Index.Number > given)
	}, key)
}

// AwaitUntil returns when done says so, when the time is over, or when the registry stops. done is asked at the beginning,
// and after each change to one of the services (the zero key: to any).
func (s *Service) AwaitUntil(ctx context.Context, wait time.Duration, done func() bool, keys ...domain.ServiceKey) error {
	// The watch begins before done is asked, so that no change is missed between the two.
	changed, stop := s.Live.Feed().Watch(keys...)
	defer stop()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for !done() {
		select {
		case <-changed:
		case <-waiting.Done():
			return ctx.Err()
		case <-s.Stopping.Done():
			return nil
		}
	}
	return nil
}
