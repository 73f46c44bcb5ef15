// Package webhooks delivers events to HTTP targets, on watermill's Router: at least once, and to each
// webhook in the order of positions, so in order for each instance. A target that fails is asked again
// with growing pauses; meanwhile what follows waits. One that fails for long is paused.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/sony/gobreaker"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Subscribing makes the subscriber of one webhook: a durable consumer that begins after a position. It
// must give the attempt under way the grace of Options.Timeout.
type Subscribing func(consumer string, after eventstore.Position, selection queries.Selection) (message.Subscriber, error)

// Options says how to deliver. The zero value of a duration or number means the default beside it.
type Options struct {
	Subscribe  Subscribing
	Secrets    *Secrets
	Log        *Log
	StoreID    string
	Allow      bool          // targets on loopback, link-local and private addresses
	Timeout    time.Duration // of one attempt; 10 s
	FirstPause time.Duration // before the second attempt; then doubled; 500 ms
	MaxPause   time.Duration // 1 min
	PauseAfter time.Duration // a webhook whose target failed for so long is paused; 24 h
	Rate       int64         // deliveries of a webhook in a second at most; 500
	Pause      func(ctx context.Context, id, reason string) error
	Observe    func(webhook string) Observer // of a webhook whose deliveries begin; nil: nobody wants to know
	Now        func() time.Time
	Logger     *slog.Logger
}

// Observer is told of one webhook's deliveries.
type Observer interface {
	Waiting(recorded time.Time) // an event of that time is to be delivered
	Attempted(result string)    // an attempt was made: delivered, rejected or failed
	End()                       // the webhook has no deliveries any more
}

type unobserved struct{}

func (unobserved) Waiting(time.Time) {}
func (unobserved) Attempted(string)  {}
func (unobserved) End()              {}

// routerLevels are the levels at which the router's lines are logged: what it does in the ordinary way
// interests nobody, and what fails is tried again.
var routerLevels = map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug, slog.LevelError: slog.LevelWarn}

// DefaultTimeout is that of an attempt.
const DefaultTimeout = 10 * time.Second

// Deliverer runs the deliveries of all webhooks.
type Deliverer struct {
	opts   Options
	client *http.Client

	mu      sync.Mutex
	running map[string]*running
	group   sync.WaitGroup
}

// running is a webhook with a goroutine that delivers for it.
type running struct {
	wanted domain.Webhook     // what the webhook is to be by now
	begun  uint64             // what is delivered: see domain.Webhook
	stop   context.CancelFunc // ends the delivery under way; the goroutine then looks at wanted
}

// New is a Deliverer without webhooks; tell it of them by Changed.
func New(opts Options) *Deliverer {
	opts.Timeout = or(opts.Timeout, DefaultTimeout)
	opts.FirstPause = or(opts.FirstPause, 500*time.Millisecond)
	opts.MaxPause = or(opts.MaxPause, time.Minute)
	opts.PauseAfter = or(opts.PauseAfter, 24*time.Hour)
	opts.Rate = or(opts.Rate, 500)
	if opts.Observe == nil {
		opts.Observe = func(string) Observer { return unobserved{} }
	}
	return &Deliverer{opts: opts, client: newClient(opts.Allow, opts.Timeout), running: make(map[string]*running)}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Changed starts, stops or moves a webhook's deliveries, as its state says. It never waits: the attempt under
// way goes on to its end or its timeout, and only what the webhook does next waits for that.
func (d *Deliverer) Changed(ctx context.Context, w domain.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.running[w.ID]; r != nil {
		r.wanted = w
		if !active(w) || r.begun != w.Begun {
			r.stop()
		}
		return
	}
	if !active(w) || ctx.Err() != nil {
		return
	}
	r := &running{wanted: w}
	d.running[w.ID] = r
	delivering := d.begin(ctx, r)
	d.group.Go(func() { d.run(ctx, r, w, delivering) })
}

func active(w domain.Webhook) bool { return w.Exists() && !w.Paused }

// begin takes up what a webhook is to be. The caller holds mu.
func (d *Deliverer) begin(ctx context.Context, r *running) context.Context {
	ctx, r.stop = context.WithCancel(ctx)
	r.begun = r.wanted.Begun
	return ctx
}

// run delivers for one webhook, each time as it is to be, until it is not to be delivered any more.
func (d *Deliverer) run(ctx context.Context, r *running, w domain.Webhook, delivering context.Context) {
	for {
		err := d.deliver(delivering, w)
		d.mu.Lock()
		stopped := delivering.Err() != nil
		r.stop()
		if err != nil && !stopped {
			d.opts.Logger.Error("webhook does not run", "webhook", w.ID, "cause", err)
		}
		if !stopped || !active(r.wanted) || ctx.Err() != nil {
			delete(d.running, w.ID)
			d.mu.Unlock()
			return
		}
		w, delivering = r.wanted, d.begin(ctx, r)
		d.mu.Unlock()
	}
}

// Wait returns when all deliveries have ended, after the contexts given to Changed have.
func (d *Deliverer) Wait() { d.group.Wait() }

// deliver runs a router with the webhook as its one handler until the context ends.
func (d *Deliverer) deliver(ctx context.Context, w domain.Webhook) error {
	secret, err := d.opts.Secrets.Open(w.Secret)
	if err != nil {
		return fmt.Errorf("its secret cannot be opened: %w", err)
	}
	// A replay is another consumer: it begins where it was sent to.
	sub, err := d.opts.Subscribe(fmt.Sprintf("webhook-%s-%d", w.ID, w.Begun), eventstore.Position(w.After), queries.WebhookSelection(w.Spec))
	if err != nil {
		return err
	}
	logger := watermill.NewSlogLoggerWithLevelMapping(d.opts.Logger.With("webhook", w.ID), routerLevels)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 2 * d.opts.Timeout}, logger)
	if err != nil {
		return err
	}
	observer := d.opts.Observe(w.ID)
	defer observer.End()
	t := &target{deliverer: d, webhook: w, secret: secret, observer: observer}
	rejected, err := middleware.PoisonQueueWithFilter(t, "rejected", func(err error) bool { return errors.As(err, new(*rejection)) })
	if err != nil {
		return err
	}
	retry := middleware.Retry{
		MaxRetries: 1 << 30, InitialInterval: d.opts.FirstPause, MaxInterval: d.opts.MaxPause, Multiplier: 2, RandomizationFactor: 0.2,
		ShouldRetry: func(p middleware.RetryParams) bool { return !errors.As(p.Err, new(*rejection)) && ctx.Err() == nil },
	}
	breaker := middleware.NewCircuitBreaker(gobreaker.Settings{
		Name: w.ID, Timeout: d.opts.MaxPause / 2, ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 },
		IsSuccessful: func(err error) bool { return err == nil || errors.As(err, new(*rejection)) },
	})
	throttle := middleware.NewThrottle(d.opts.Rate, time.Second)
	handler := router.AddConsumerHandler("webhook", w.Spec.URL, sub, t.deliver)
	handler.AddMiddleware(rejected, retry.Middleware, breaker.Middleware, throttle.Middleware, middleware.Recoverer)
	return errors.Join(router.Run(ctx), sub.Close())
}

// target is where a webhook delivers to.
type target struct {
	deliverer *Deliverer
	webhook   domain.Webhook
	secret    string
	observer  Observer
	attempt   int
	position  wire.Position // of the event that attempt counts for
	failing   time.Time     // since when every attempt failed; zero: the last one did not
}

// rejection says that the target will never take this event, whatever happens; the next may do.
type rejection struct{ status int }

func (e *rejection) Error() string {
	return fmt.Sprintf("the target rejects the event: it answered %d %s", e.status, http.StatusText(e.status))
}

// deliver makes one attempt.
func (t *target) deliver(m *message.Message) error {
	d := t.deliverer
	position, err := wire.ParsePosition("position", m.Metadata.Get("position"))
	if err != nil {
		return &rejection{}
	}
	if position != t.position {
		t.position, t.attempt = position, 0
		if recorded, err := time.Parse(time.RFC3339Nano, m.Metadata.Get("recorded_at")); err == nil {
			t.observer.Waiting(recorded)
		}
	}
	t.attempt++
	began := d.opts.Now()
	// An attempt under way goes on to its end, so that a pause sends nothing twice.
	status, err := d.post(context.WithoutCancel(m.Context()), t.webhook.Spec.URL, t.secret, m)
	a := Attempt{
		Event: m.UUID, Position: t.position, Type: m.Metadata.Get("type"), Attempt: t.attempt, At: began, Took: domain.Duration(d.opts.Now().Sub(began)), Status: status,
	}
	switch {
	case err != nil:
		a.Error = err.Error()
	case status >= 200 && status < 300:
		a.Delivered = true
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		err = &rejection{status}
		a.Error = err.Error()
	default:
		err = fmt.Errorf("the target answered %d %s", status, http.StatusText(status))
		a.Error = err.Error()
	}
	d.opts.Log.Add(t.webhook.ID, a)
	rejected := errors.As(err, new(*rejection))
	switch {
	case err == nil:
		t.observer.Attempted("delivered")
	case rejected:
		t.observer.Attempted("rejected")
	default:
		t.observer.Attempted("failed")
	}
	if err == nil || rejected {
		if !t.failing.IsZero() {
			d.opts.Logger.Info("webhook's target takes events again", "webhook", t.webhook.ID, "failed_for", d.opts.Now().Sub(t.failing).Round(time.Second))
		}
		t.failing = time.Time{}
		return err
	}
	if t.failing.IsZero() {
		t.failing = began
	}
	if t.attempt&(t.attempt-1) == 0 { // the first, second, fourth, eighth …: the log says it ever more rarely
		d.opts.Logger.Warn("webhook's target fails; it is tried again with growing pauses", "webhook", t.webhook.ID, "attempt", t.attempt,
			"failing_since", t.failing.UTC(), "cause", err)
	}
	if status == http.StatusGone || d.opts.Now().Sub(t.failing) >= d.opts.PauseAfter {
		t.pause(m.Context(), err)
	}
	return err
}

// pause gives up for now. The command is carried out beside the delivery, which it stops.
func (t *target) pause(ctx context.Context, cause error) {
	reason := fmt.Sprintf("failing since %s: %v", t.failing.UTC().Format(time.RFC3339), cause)
	d, id := t.deliverer, t.webhook.ID
	d.group.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.opts.Timeout)
		defer cancel()
		if err := d.opts.Pause(ctx, id, reason[:min(len(reason), domain.MaxReason)]); err != nil {
			d.opts.Logger.Error("webhook cannot be paused", "webhook", id, "cause", err)
		}
	})
}

// Publish implements message.Publisher for the poison queue: rejected events stand in the log as such.
func (t *target) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		t.deliverer.opts.Logger.Warn("webhook's target rejects an event; it is passed over", "webhook", t.webhook.ID, "event", m.UUID,
			"cause", m.Metadata.Get(middleware.ReasonForPoisonedKey))
	}
	return nil
}

// Close implements message.Publisher.
func (t *target) Close() error { return nil }

// NewMessage makes an event's message: the body that is posted, in the JSON form of CloudEvents 1.0.
func NewMessage(storeID string) func(e *eventstore.RecordedEvent) (*message.Message, error) {
	return func(e *eventstore.RecordedEvent) (*message.Message, error) {
		body, err := queries.EncodeCloudEvent(storeID, e)
		if err != nil {
			return nil, err
		}
		m := message.NewMessage(e.ID.String(), body)
		m.Metadata = message.Metadata{
			"position": wire.PositionOf(e).String(), "type": e.Type, "recorded_at": e.RecordedAt.Format(time.RFC3339Nano),
		}
		return m, nil
	}
}
