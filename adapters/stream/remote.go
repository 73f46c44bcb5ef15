package stream

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Remote is a registry's event log, read over HTTP: a Source for programs that are not Rollcall. A
// path that is silent for longer than two keep-alives is given up, so that the Subscriber asks again.
type Remote struct {
	URL       string            // e.g. http://127.0.0.1:7700
	Transport http.RoundTripper // nil: http.DefaultTransport

	timeline string // of the position after which Subscribe begins
}

func (r Remote) on(timeline string) Source {
	r.timeline = timeline
	return r
}

// Subscribe implements Source.
func (r Remote) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	registry, err := client.New(r.URL, client.Options{Transport: r.Transport})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &remoteSubscription{cancel: cancel, results: make(chan remoteResult)}
	s.reading.Go(func() { s.read(ctx, registry, wire.Position{Timeline: r.timeline, Number: opts.After}, opts.Filter) })
	return s, nil
}

type remoteSubscription struct {
	cancel  context.CancelFunc
	results chan remoteResult // closed by the reader; unbuffered: it reads no further than is asked for
	reading sync.WaitGroup
}

type remoteResult struct {
	event eventstore.RecordedEvent
	err   error
}

func (s *remoteSubscription) read(ctx context.Context, registry *client.Client, after wire.Position, filter eventstore.Filter) {
	defer close(s.results)
	query := queryOf(filter)
	query.After, query.From = after, "0" // After, if there is one
	for e, err := range registry.StreamEvents(ctx, query) {
		if err == nil && (e.Position <= after.Number || !filter.Match(e.Stream, e.Type)) {
			continue
		}
		select {
		case s.results <- remoteResult{e.RecordedEvent, otherTimeline(after, err)}:
		case <-ctx.Done():
			return
		}
	}
}

// otherTimeline is the error by which a registry refuses to go on after a position that counts other events there; any
// other error stays what it is.
func otherTimeline(after wire.Position, err error) error {
	other := eventstore.OtherTimeline{Timeline: after.Timeline, Position: after.Number, Relation: eventstore.Foreign}
	var refused *wire.Problem
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Type == wire.OtherTimeline && refused.Fork != nil:
		other.Fork, other.Relation = refused.Fork.Number, eventstore.Lost
	case refused.Type == wire.OtherTimeline:
	case refused.Field == "from": // it is one that the registry gave, but has not given yet
		other.Relation = eventstore.Ahead
	default:
		return err
	}
	return other
}

// queryOf asks for what a filter picks, or for more: the registry knows selections, not prefixes.
func queryOf(f eventstore.Filter) client.EventQuery {
	q := client.EventQuery{Types: f.Types, Heartbeats: !f.SkipsHeartbeats()}
	if len(f.StreamPrefixes) == 0 {
		return q
	}
	whose, _ := ofInstances(f.StreamPrefixes[0])
	for _, prefix := range f.StreamPrefixes {
		if other, ok := ofInstances(prefix); !ok || other != whose {
			return q // no selection that is narrower picks all of them
		}
	}
	// "namespace/", "namespace/service/" or "namespace/service/id"; what is no whole name is left out.
	parts := strings.SplitN(whose, "/", 3)
	if len(parts) > 1 && domain.ValidateLabel("ns", parts[0]) == nil {
		q.Namespace = parts[0]
	}
	if len(parts) > 2 && q.Namespace != "" {
		q.Service = parts[1]
	}
	if f.Exact && q.Service != "" {
		q.Instance = parts[2]
	}
	return q
}

// ofInstances is what a prefix of instances' streams says of the instances' keys.
func ofInstances(prefix string) (whose string, ok bool) {
	if whose, ok = strings.CutPrefix(prefix, eventstore.LifecyclePrefix); ok {
		return whose, true
	}
	return strings.CutPrefix(prefix, eventstore.HeartbeatPrefix)
}

// Next implements eventstore.Subscription.
func (s *remoteSubscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	select {
	case r, ok := <-s.results:
		if !ok {
			return nil, 0, eventstore.ErrClosed
		}
		if r.err != nil {
			return nil, 0, r.err
		}
		return []eventstore.RecordedEvent{r.event}, r.event.Position, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// Close implements eventstore.Subscription.
func (s *remoteSubscription) Close() error {
	s.cancel()
	s.reading.Wait()
	return nil
}
