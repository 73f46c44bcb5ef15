package webhooks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A turn ends after this many events or this long, so that other webhooks get their turns.
const (
	turnEvents = 64
	turnTime   = 2 * time.Second
)

// The results of an attempt.
const (
	delivered = "delivered"
	rejected  = "rejected"
	failed    = "failed"
)

// dispatch gives turns to the webhooks that may have a turn. The caller holds mu.
func (d *Deliverer) dispatch() {
	if d.running == nil || d.running.Err() != nil {
		return
	}
	for h := d.schedule.next(); h != nil; h = d.schedule.next() {
		d.set(h, underWay)
		of := h.standing
		d.turns.Go(func() { d.turn(d.running, h, of) })
	}
}

// wake gives turns to the webhooks whose pause is over, and sets the timer for the end of the next pause.
func (d *Deliverer) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for h := d.schedule.due(d.opts.Now()); h != nil; h = d.schedule.due(d.opts.Now()) {
		if h.state == waiting {
			d.ready(h)
		}
	}
	d.setTimer()
	d.dispatch()
}

func (d *Deliverer) setTimer() {
	if len(d.schedule.waiting) == 0 || d.running == nil || d.running.Err() != nil {
		return
	}
	in := max(d.schedule.waiting[0].until.Sub(d.opts.Now()), 0)
	if d.schedule.timer == nil {
		d.schedule.timer = time.AfterFunc(in, d.wake)
		return
	}
	d.schedule.timer.Reset(in)
}

// work is what a turn has to do: the webhook as it was when the turn took the work, and which events to look at.
type work struct {
	webhook  domain.Webhook
	after    eventstore.Position
	to       eventstore.Position
	attempts int
}

// outcome is how a part of a turn ended.
type outcome uint8

const (
	more outcome = iota // the turn goes on
	over                // the turn is over
)

// turn delivers the events of one webhook, one after the other.
func (d *Deliverer) turn(ctx context.Context, h *hook, of standing) {
	ends, left := d.opts.Now().Add(turnTime), turnEvents
	for {
		w, ok := d.take(ctx, h)
		if !ok {
			break
		}
		items, err := d.due(ctx, w, left)
		if err != nil {
			d.cannot(ctx, h, w, err)
			break
		}
		secret, err := d.opts.Secrets.Open(w.webhook.Secret)
		if err != nil {
			d.giveUp(h, fmt.Errorf("its secret cannot be opened: %w", err))
			break
		}
		url, err := d.opts.Secrets.Target(w.webhook)
		if err != nil {
			d.giveUp(h, fmt.Errorf("its target cannot be opened: %w", err))
			break
		}
		result := more
		for _, i := range items {
			if result = d.deliver(ctx, h, &w, url, secret, i); result != more {
				break
			}
			left--
		}
		if result == more && len(items) == 0 {
			result = d.caughtUp(h, w)
		}
		if result == more && (left <= 0 || !d.opts.Now().Before(ends)) {
			result = over
		}
		if result != more {
			break
		}
	}
	d.endTurn(h, of)
}

// take gives a turn its work; ok is false if the webhook must not be delivered any more.
func (d *Deliverer) take(ctx context.Context, h *hook) (w work, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil || !h.active() {
		return w, false
	}
	return work{webhook: h.webhook, after: h.done, to: d.followed, attempts: h.attempt}, true
}

// due gives the next events that a webhook picks, at most limit.
func (d *Deliverer) due(ctx context.Context, w work, limit int) (found []*item, err error) {
	filter, err := queries.WebhookSelection(w.webhook.Spec).Filter()
	if err != nil || w.after >= w.to {
		return nil, err
	}
	picks := func(e *eventstore.RecordedEvent) bool {
		key, ok := e.Stream.InstanceKey()
		return ok && passes(w.webhook.Spec, key.Namespace) && filter.Match(e.Stream, e.Type)
	}
	if found, ok := d.remembered(w.after, filter, picks, limit); ok {
		return found, nil
	}
	for e, err := range d.opts.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: w.after, To: w.to, Filter: filter}) {
		if err != nil {
			return nil, err
		}
		if !picks(&e) {
			continue
		}
		if found = append(found, &item{RecordedEvent: e}); len(found) == limit {
			break
		}
	}
	return found, nil
}

// remembered is due from the newest events in memory; false: not all of the events are in memory.
func (d *Deliverer) remembered(after eventstore.Position, filter eventstore.Filter, picks func(*eventstore.RecordedEvent) bool, limit int) ([]*item, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !filter.SkipsHeartbeats() && !d.beats {
		return nil, false
	}
	return d.recent.after(after, picks, limit)
}

// cannot handles a failure to read a webhook's events: a selection that is not valid ends the deliveries, any other
// failure makes a pause.
func (d *Deliverer) cannot(ctx context.Context, h *hook, w work, err error) {
	if errors.As(err, new(domain.InvalidField)) {
		d.giveUp(h, err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil {
		d.opts.Logger.Warn("webhook's events cannot be read; they are asked for again", "webhook", w.webhook.ID, "cause", err)
		d.pause(h, d.opts.MaxPause/10)
	}
}

// giveUp stops the deliveries of a webhook until the webhook changes.
func (d *Deliverer) giveUp(h *hook, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.broken = true
	d.opts.Logger.Error("webhook does not run", "webhook", h.webhook.ID, "cause", cause)
}

// caughtUp notes that all events were delivered up to the end of the turn's work.
func (d *Deliverer) caughtUp(h *hook, w work) outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.webhook.Begun != w.webhook.Begun {
		return more
	}
	if h.done = max(h.done, w.to); h.done < d.followed {
		return more
	}
	return over
}

// pause lets a webhook wait when its turn has ended. The caller holds mu.
func (d *Deliverer) pause(h *hook, pause time.Duration) {
	h.pausing, h.until = true, d.opts.Now().Add(pause)
}

// endTurn gives the turn back. The webhook may have changed during the turn, so endTurn computes its next state.
func (d *Deliverer) endTurn(h *hook, of standing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.schedule.end(h.host, of)
	h.state = unplaced
	switch pausing := h.pausing; {
	case h.gone:
		d.ended = append(d.ended, h.webhook.ID)
	case pausing && h.active():
		d.set(h, waiting)
		d.schedule.wait(h)
		d.setTimer()
	default:
		d.place(h)
	}
	h.pausing = false
	d.dispatch()
}

// deliver makes one attempt to deliver one event.
func (d *Deliverer) deliver(ctx context.Context, h *hook, w *work, url, secret string, i *item) outcome {
	if ctx.Err() != nil {
		return over
	}
	d.mu.Lock()
	d.observers.waiting(w.webhook.ID, i.RecordedAt)
	d.mu.Unlock()
	m, err := i.message(d.opts.StoreID)
	if err != nil {
		d.opts.Logger.Error("event has no message and is passed over", "position", i.Position, "cause", err)
		return d.settle(h, w, i, delivered, false, nil)
	}
	began := d.opts.Now()
	// An attempt goes on to its end also when the webhook is paused meanwhile: otherwise the event would be sent twice.
	said, err := d.post(d.posts, url, secret, m)
	status := said.status
	took := d.opts.Now().Sub(began)
	a := Attempt{
		Event: m.UUID, Position: wire.PositionOf(&i.RecordedEvent), Type: i.Type, Attempt: w.attempts + 1, At: began, Took: domain.Duration(took), Status: status,
	}
	result := failed
	switch {
	case err != nil && d.posts.Err() != nil:
		err = errors.New("the registry stopped before the target answered")
	case err != nil:
	case status >= 200 && status < 300:
		result, a.Delivered = delivered, true
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		result, err = rejected, fmt.Errorf("the target rejects the event: it answered %d %s", status, http.StatusText(status))
		d.opts.Logger.Warn("webhook's target rejects an event; it is passed over", "webhook", w.webhook.ID, "event", m.UUID, "cause", err)
	default:
		err = fmt.Errorf("the target answered %d %s", status, http.StatusText(status))
	}
	if err != nil {
		a.Error = err.Error()
	}
	d.opts.Log.Add(w.webhook.ID, a)
	if result == failed {
		return d.fail(h, w, began, said, err)
	}
	return d.settle(h, w, i, result, true, &took)
}

// slow is how long an attempt may take. A target that takes longer has the standing of a target that was never tried.
const slow = time.Second

// settle notes that an event was delivered or passed over.
func (d *Deliverer) settle(h *hook, w *work, i *item, result string, attempted bool, took *time.Duration) outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	if attempted && !h.gone {
		d.observers.attempted(w.webhook.ID, result)
	}
	if h.webhook.Begun != w.webhook.Begun {
		return over
	}
	if !h.failing.IsZero() {
		d.opts.Logger.Info("webhook's target takes events again", "webhook", h.webhook.ID, "failed_for", d.opts.Now().Sub(h.failing).Round(time.Second))
	}
	h.done, h.attempt, h.failing = i.Position, 0, time.Time{}
	h.standing = proven
	if took != nil && *took > slow {
		h.standing = untried
	}
	w.after, w.attempts = i.Position, 0
	d.delivered = true
	d.touch(h)
	if !h.active() || d.running.Err() != nil {
		return over
	}
	now := d.opts.Now()
	if h.sentIn != now.Unix() {
		h.sentIn, h.sent = now.Unix(), 0
	}
	if h.sent++; h.sent >= d.opts.Rate {
		d.pause(h, time.Unix(h.sentIn+1, 0).Sub(now))
		return over
	}
	if h.standing != proven {
		return over // the next turn has the new standing
	}
	return more
}

// fail notes that an attempt failed, and when the next one is made.
func (d *Deliverer) fail(h *hook, w *work, began time.Time, said answer, cause error) outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !h.gone {
		d.observers.attempted(w.webhook.ID, failed)
	}
	if h.webhook.Begun != w.webhook.Begun {
		return over
	}
	h.attempt++
	h.standing = failing
	if h.failing.IsZero() {
		h.failing = began
	}
	if h.attempt&(h.attempt-1) == 0 { // the first, second, fourth, eighth …: the lines in the log become rarer
		d.opts.Logger.Warn("webhook's target fails; it is tried again with growing pauses", "webhook", h.webhook.ID, "attempt", h.attempt,
			"failing_since", h.failing.UTC(), "cause", cause)
	}
	if !h.active() || d.running.Err() != nil {
		return over
	}
	if said.status == http.StatusGone || d.opts.Now().Sub(h.failing) >= d.opts.PauseAfter {
		d.suspend(h, cause)
	}
	d.pause(h, max(d.pauseAfter(h.attempt), spread(said.after)))
	return over
}

// spread is a pause and up to a fifth of it, so that the webhooks of one target do not come back together.
func spread(pause time.Duration) time.Duration {
	return pause + time.Duration(0.2*rand.Float64()*float64(pause))
}

// pauseAfter is the pause after a number of attempts that failed. Each pause is twice as long as the one before. A random
// part spreads the webhooks of one target.
func (d *Deliverer) pauseAfter(attempts int) time.Duration {
	pause := d.opts.FirstPause
	for range attempts - 1 {
		if pause *= 2; pause >= d.opts.MaxPause {
			pause = d.opts.MaxPause
			break
		}
	}
	return time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
}

// suspend pauses the webhook by a command, which another goroutine carries out. The caller holds mu.
func (d *Deliverer) suspend(h *hook, cause error) {
	now := d.opts.Now()
	since := now.Add(h.failing.Sub(now)) // the wall clock may have stepped since
	reason := fmt.Sprintf("failing since %s: %v", since.UTC().Format(time.RFC3339), cause)
	id, ctx := h.webhook.ID, context.WithoutCancel(d.running)
	d.turns.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
		defer cancel()
		if err := d.opts.Pause(ctx, id, strings.ToValidUTF8(reason[:min(len(reason), domain.MaxReason)], "")); err != nil {
			d.opts.Logger.Error("webhook cannot be paused", "webhook", id, "cause", err)
		}
	})
}
