// Package webhooks delivers events to HTTP targets: at least once, and to each webhook in the order of positions, so in
// order for each instance. An attempt that fails is repeated with growing pauses; meanwhile the following events wait. A
// webhook whose target fails for long is paused.
//
// One follower of the log finds the webhooks that pick an event. A webhook with nothing to deliver costs only the memory of
// its state. A webhook with something to deliver gets a turn. The number of turns is bounded, in all and by target (see
// schedule.go and ADR 030).
package webhooks

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// Store is where the events come from.
type Store interface {
	projections.Subscribable
	ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error]
	Head(ctx context.Context) (eventstore.Position, error)
	Timelines() eventstore.Timelines
}

// Options says how to deliver. The zero value of a duration or number stands for the default in the comment beside.
type Options struct {
	Store      Store
	Positions  *Positions
	Secrets    *Secrets
	Log        *Log
	StoreID    string
	Allow      bool          // targets on loopback, link-local, private and reserved addresses
	Timeout    time.Duration // of one attempt; 10 s
	Grace      time.Duration // for attempts under way when Run is to end; 5 s
	FirstPause time.Duration // before the second attempt; then doubled; 500 ms
	MaxPause   time.Duration // 1 min
	PauseAfter time.Duration // a webhook whose target failed for so long is paused; 24 h
	Rate       int           // deliveries of a webhook in a second at most; 500
	AtOnce     int           // attempts under way at once; 1024
	PerHost    int           // attempts under way at once to one host and port; 64
	SaveEvery  time.Duration // between two savings of the positions; 1 s
	Pause      func(ctx context.Context, id, reason string) error
	Observe    func(webhook string) Observer // makes the observer of a webhook whose deliveries begin; nil: no webhook is observed
	Now        func() time.Time
	Logger     *slog.Logger
}

const (
	// DefaultTimeout is the timeout of an attempt.
	DefaultTimeout = 10 * time.Second
	// DefaultGrace is how long attempts under way may take when the registry stops. An event that was not acknowledged
	// until then is delivered again.
	DefaultGrace = 5 * time.Second
)

// Deliverer runs the deliveries of all webhooks.
type Deliverer struct {
	opts   Options
	client *http.Client
	turns  sync.WaitGroup  // goroutines: turns, and commands that pause webhooks
	posts  context.Context // of attempts; ends Grace after that of Run
	cut    func()          // ends posts

	mu        sync.Mutex // guards the fields below; never held while a goroutine waits for anything else
	hooks     map[string]*hook
	index     index
	schedule  schedule
	observers observers
	recent    recent
	running   context.Context     // of Run; nil before the store has told its head, and nothing is delivered until then
	followed  eventstore.Position // up to here the follower has looked for webhooks
	beats     bool                // the follower looks at heartbeats, too
	refollow  context.CancelFunc  // lets the follower begin again with another filter; nil: the follower is about to begin
	unsaved   []*hook             // whose position has changed since it was saved
	gone      []string            // webhooks to be removed from the saved positions
	ended     []string            // webhooks that are gone and make no attempt any more: the log forgets them
	delivered bool                // something was delivered since the last saving
}

// New makes a Deliverer without webhooks. Changed adds webhooks, and Run delivers.
func New(opts Options) *Deliverer {
	opts.Timeout = or(opts.Timeout, DefaultTimeout)
	opts.Grace = or(opts.Grace, DefaultGrace)
	opts.FirstPause = or(opts.FirstPause, 500*time.Millisecond)
	opts.MaxPause = or(opts.MaxPause, time.Minute)
	opts.PauseAfter = or(opts.PauseAfter, 24*time.Hour)
	opts.Rate = or(opts.Rate, 500)
	opts.AtOnce = or(opts.AtOnce, 1024)
	opts.PerHost = or(opts.PerHost, 64)
	opts.SaveEvery = or(opts.SaveEvery, time.Second)
	d := &Deliverer{opts: opts, client: newClient(opts.Allow, opts.Timeout), hooks: make(map[string]*hook), index: newIndex()}
	d.posts, d.cut = context.WithCancel(context.Background())
	d.schedule = newSchedule(opts.AtOnce, opts.PerHost)
	d.observers = newObservers(opts.Observe)
	return d
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Changed starts, stops or moves a webhook's deliveries, as the webhook's state says. Changed never waits: an attempt that has
// begun goes on to its end or its timeout, and only the next attempt of that webhook waits for this end.
func (d *Deliverer) Changed(w domain.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hooks[w.ID]
	switch {
	case !w.Exists():
		if h != nil {
			d.remove(h)
		}
		return
	case h == nil:
		h = newHook(w)
		d.hooks[w.ID] = h
		if d.running != nil {
			d.restore(h)
		}
	case h.webhook.Begun != w.Begun:
		h.webhook = w
		d.schedule.forget(h)
		h.begin(eventstore.Position(w.After))
		d.touch(h)
	default:
		if h.webhook.Paused && !w.Paused { // PauseAfter begins anew: the first failure must not pause the webhook again
			h.failing = time.Time{}
		}
		h.webhook, h.broken = w, false
	}
	if d.running != nil {
		d.place(h)
		d.dispatch()
	}
}

// remove forgets a webhook that was deleted.
func (d *Deliverer) remove(h *hook) {
	delete(d.hooks, h.webhook.ID)
	d.index.remove(h)
	d.schedule.forget(h)
	d.observers.end(h.webhook.ID)
	h.gone = true
	d.gone = append(d.gone, h.webhook.ID)
	if h.state != underWay {
		d.ended = append(d.ended, h.webhook.ID)
	}
}

// place computes the state of a webhook that has no turn.
func (d *Deliverer) place(h *hook) {
	if h.state == underWay {
		return // endTurn calls place again
	}
	if !h.active() {
		if h.state == idle {
			h.done = max(h.done, d.followed)
		}
		d.index.remove(h)
		d.schedule.forget(h)
		d.observers.end(h.webhook.ID)
		d.set(h, stopped)
		return
	}
	d.index.add(h)
	if d.beats != (d.index.beats > 0) && d.refollow != nil {
		d.refollow()
		d.refollow = nil
	}
	switch {
	case h.state == idle, h.state == waiting: // the webhook waits for the same thing as before
	case h.done < d.followed:
		d.ready(h)
	default:
		d.rest(h)
	}
}

// rest lets a webhook wait until the follower finds an event that the webhook picks.
//
// INVARIANT: a webhook is idle only if the follower reads all events that the webhook picks. Then all picked events up to
// done and up to followed, whichever is later, were delivered.
func (d *Deliverer) rest(h *hook) {
	if h.beats() && !d.beats {
		d.set(h, awaiting)
		return
	}
	d.set(h, idle)
}

func (d *Deliverer) ready(h *hook) {
	d.set(h, ready)
	d.schedule.add(h)
}

func (d *Deliverer) set(h *hook, s state) {
	if h.state != s {
		h.state = s
		d.touch(h)
	}
}

// touch notes that a webhook's position must be saved.
func (d *Deliverer) touch(h *hook) {
	if !h.unsaved {
		h.unsaved = true
		d.unsaved = append(d.unsaved, h)
	}
}
