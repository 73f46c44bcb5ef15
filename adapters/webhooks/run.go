package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxSourcePause is the longest pause before a store that fails is read again.
const maxSourcePause = 5 * time.Second

// Run delivers until the context ends. Then Run waits for the attempts that have begun, and saves the positions of the
// webhooks. After Options.Grace the attempts are broken off.
func (d *Deliverer) Run(ctx context.Context) error {
	defer d.cut()
	if !d.begin(ctx) {
		return nil
	}
	saving, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		d.saveEvery(saving)
	}()
	d.follow(ctx)
	d.mu.Lock() // no turn begins after this
	if d.schedule.timer != nil {
		d.schedule.timer.Stop()
	}
	d.mu.Unlock()
	grace := time.AfterFunc(d.opts.Grace, d.cut)
	d.turns.Wait()
	grace.Stop()
	close(saving)
	<-done
	d.mu.Lock()
	d.observers.endAll()
	d.mu.Unlock()
	return d.opts.Positions.Close()
}

// begin gives every webhook its position in the log, as soon as the store answers. false: the context ended first.
func (d *Deliverer) begin(ctx context.Context) bool {
	var head eventstore.Position
	d.again(ctx, func() (err error) {
		head, err = d.opts.Store.Head(ctx)
		return err
	})
	if ctx.Err() != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followed = head
	if at, ok := d.opts.Positions.followed(); ok {
		d.followed = min(d.own("the follower", at), head)
	}
	d.recent.begin(d.followed)
	d.running = ctx
	for _, h := range d.hooks {
		d.restore(h)
		d.place(h)
	}
	d.dispatch()
	return true
}

// own is the store's position for a position that was saved. A position of events that a restore or a crash has removed
// becomes the position of the fork: the webhook gets the events that the log has instead.
func (d *Deliverer) own(who string, at wire.Position) eventstore.Position {
	own, relation := d.opts.Store.Timelines().Resolve(at.Timeline, at.Number)
	if !relation.GoesOn() {
		d.opts.Logger.Warn("webhooks were told of events that are not in the log any more; they go on after the last that is",
			"who", who, "position", at.String(), "goes_on_after", own)
	}
	return own
}

// restore gives a webhook the position that was last saved. The caller holds mu.
func (d *Deliverer) restore(h *hook) {
	consumer := fmt.Sprintf("webhook-%s-%d", h.webhook.ID, h.webhook.Begun) // of earlier versions
	r, ok := d.opts.Positions.take(h.webhook.ID)
	switch {
	case ok && r.Begun != h.webhook.Begun: // a replay has given the webhook another position since
	case ok && r.Idle:
		if _, known := d.opts.Positions.followed(); known {
			h.done = max(h.done, d.followed)
		}
		h.saved = r
		return
	case ok:
		h.done, h.saved = max(h.done, d.own(consumer, r.Position)), r
		return
	default:
		if at, ok := d.opts.Positions.earlier(consumer+"/"+h.webhook.Spec.URL, d.opts.Logger); ok {
			h.done = max(h.done, d.own(consumer, at))
		}
	}
	d.touch(h)
}

// follow finds the webhooks that pick each new event, until the context ends or the store is closed.
func (d *Deliverer) follow(ctx context.Context) {
	for ctx.Err() == nil {
		closed := false
		d.again(ctx, func() error {
			following, cancel := context.WithCancel(ctx)
			defer cancel()
			err := projections.Follow(following, d.opts.Store, d.from(cancel), d.apply)
			closed = err == nil && following.Err() == nil
			return err
		})
		if closed {
			<-ctx.Done() // deliveries under way go on
			return
		}
	}
}

// from says which events to follow. cancel ends the following when other events are to be followed.
func (d *Deliverer) from(cancel context.CancelFunc) eventstore.SubscribeOptions {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refollow = cancel
	d.beats = d.index.beats > 0
	d.recent.begin(d.followed)
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	if d.beats {
		filter.StreamPrefixes = append(filter.StreamPrefixes, eventstore.HeartbeatPrefix)
		for _, h := range d.hooks {
			if h.state == awaiting {
				d.place(h)
			}
		}
		d.dispatch()
	}
	return eventstore.SubscribeOptions{After: d.followed, Filter: filter}
}

// apply makes the webhooks that pick an event ready for a turn.
func (d *Deliverer) apply(events []eventstore.RecordedEvent, position eventstore.Position) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.hooks) == 0 { // nobody needs them: the first webhook asks the store for what comes before it
		d.recent.begin(position)
		events = nil
	}
	for i := range events {
		e := &events[i]
		d.recent.add(e)
		d.index.find(e, func(h *hook) {
			if h.state == idle && e.Position > h.done {
				h.done = e.Position - 1
				d.ready(h)
			}
		})
	}
	d.followed = max(d.followed, position)
	d.dispatch()
	return nil
}

// again calls f until it succeeds or the context ends, with growing pauses.
func (d *Deliverer) again(ctx context.Context, f func() error) {
	for wait := d.opts.FirstPause; ctx.Err() == nil; wait = min(2*wait, maxSourcePause) {
		err := f()
		if err == nil || ctx.Err() != nil {
			return
		}
		d.opts.Logger.Warn("webhooks: the event store failed; it is asked again", "cause", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// saveEvery saves the positions regularly until the channel is closed, and then once more.
func (d *Deliverer) saveEvery(end <-chan struct{}) {
	ticker := time.NewTicker(d.opts.SaveEvery)
	defer ticker.Stop()
	for ended, quiet := false, 0; !ended; {
		select {
		case <-end:
			ended = true
		case <-ticker.C:
		}
		if changes, any := d.changes(); any || ended || quiet >= 30 {
			d.opts.Positions.save(changes, d.opts.Logger)
			if len(changes.ended) > 0 {
				d.opts.Log.Forget(changes.ended)
			}
			quiet = 0
			continue
		}
		quiet++
	}
}

// changes are the changes to save; any is false if only the follower's position has changed.
func (d *Deliverer) changes() (c changes, any bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	timeline := d.opts.Store.Timelines().Name
	c = changes{hooks: len(d.hooks), followed: wire.Position{Timeline: timeline, Number: d.followed}, moved: d.opts.Positions.takeMoved()}
	for _, h := range d.unsaved {
		h.unsaved = false
		r := record{Webhook: h.webhook.ID, Begun: h.webhook.Begun, Idle: h.state == idle && h.done <= d.followed}
		if !r.Idle {
			r.Position = wire.Position{Timeline: timeline, Number: h.done}
		}
		if h.gone || r == h.saved {
			continue
		}
		h.saved = r
		c.records = append(c.records, r)
	}
	for _, id := range d.gone {
		c.records = append(c.records, record{Webhook: id, Gone: true})
	}
	c.ended = d.ended
	any = len(c.records) > 0 || len(c.ended) > 0 || d.delivered
	d.unsaved, d.gone, d.ended, d.delivered = nil, nil, nil, false
	c.all = d.records
	return c, any
}

// records are the records of all webhooks.
func (d *Deliverer) records() (all []record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hooks {
		if h.saved.Webhook != "" {
			all = append(all, h.saved)
		}
	}
	return all
}
