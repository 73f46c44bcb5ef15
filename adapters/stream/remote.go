package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// maxEvent is the longest line that a Remote takes.
const maxEvent = 64 << 20

// Remote is a registry's event log, read over HTTP: a Source for programs that are not Rollcall.
type Remote struct {
	URL    string       // e.g. http://127.0.0.1:7700
	Client *http.Client // nil: http.DefaultClient. It must have no timeout
}

// Subscribe implements Source.
func (r Remote) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	query := url.Values{"follow": {"true"}}
	if opts.After > 0 {
		query.Set("from", strconv.FormatUint(uint64(opts.After), 10)) // that one is passed over
	}
	if len(opts.Filter.Types) > 0 {
		query.Set("type", strings.Join(opts.Filter.Types, ","))
	}
	if !opts.Filter.SkipsHeartbeats() {
		query.Set("heartbeats", "true")
	}
	ctx, cancel := context.WithCancel(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.URL, "/")+"/v1/events?"+query.Encode(), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	client := r.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(request)
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // whatever it says
		return nil, errors.Join(fmt.Errorf("registry at %s answered %s: %s", r.URL, resp.Status, body), resp.Body.Close())
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxEvent)
	s := &remoteSubscription{cancel: cancel, body: resp.Body, lines: lines, opts: opts, results: make(chan remoteResult)}
	s.reading.Go(func() { s.read(ctx) })
	return s, nil
}

type remoteSubscription struct {
	cancel  context.CancelFunc
	body    io.Closer
	lines   *bufio.Scanner
	opts    eventstore.SubscribeOptions
	results chan remoteResult // closed by the reader; unbuffered: it reads no further than is asked for
	reading sync.WaitGroup
}

type remoteResult struct {
	event eventstore.RecordedEvent
	err   error
}

func (s *remoteSubscription) read(ctx context.Context) {
	defer close(s.results)
	for {
		var r remoteResult
		switch {
		case s.lines.Scan():
			r.event, r.err = eventstore.ParseJSON(s.lines.Bytes())
			if r.err == nil && (r.event.Position <= s.opts.After || !s.opts.Filter.Match(r.event.Stream, r.event.Type)) {
				continue
			}
		case s.lines.Err() != nil:
			r.err = s.lines.Err()
		default:
			r.err = io.ErrUnexpectedEOF // a follower's reply has no end
		}
		select {
		case s.results <- r:
		case <-ctx.Done():
			return
		}
		if r.err != nil {
			return
		}
	}
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
	err := s.body.Close()
	s.reading.Wait()
	return err
}
