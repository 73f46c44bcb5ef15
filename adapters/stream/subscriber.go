// Package stream delivers events through watermill: a Subscriber over an event store, or over a registry's HTTP API, for
// watermill's Router.
//
// A subscription delivers one message at a time, in the order of positions. The next message comes when the previous
// message is acked. A message that is nacked comes again. A consumer with a name keeps a checkpoint and goes on after it:
// each event is delivered at least once, and twice only if the process ended between an ack and the save of the
// checkpoint.
package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Source gives events: an event store, or a Remote registry.
type Source interface {
	Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error)
}

// Config is the configuration of a Subscriber.
type Config struct {
	Source Source
	// Consumer is the name under which checkpoints are kept, one checkpoint for each topic. Without a name each
	// subscription begins at From. Only one subscription of a consumer to a topic delivers at a time: a second
	// subscription waits for the end of the first.
	Consumer    string
	Checkpoints *Checkpoints // must be set if Consumer is set
	// From is the position after which a subscription begins without a checkpoint, or with one that cannot be read: 0 is the
	// beginning of what is kept, and leaves nothing out. A consumer that is to miss nothing gives the same From each time.
	From eventstore.Position
	// Select says which events a topic picks; nil: ParseTopic.
	Select func(topic string) (Selection, error)
	// Message makes an event's message; nil: NewMessage.
	Message func(e *eventstore.RecordedEvent) (*message.Message, error)
	// Redelivery is the pause before a nacked message comes again, and before the Subscriber subscribes again to a source
	// that failed; 0: 100 ms. While the source fails again and again, the pause grows to 5 s.
	Redelivery time.Duration
	// SaveEvery is the time between two saves of the checkpoint; 0: 1 s. The end of a subscription saves the checkpoint.
	SaveEvery time.Duration
	// Grace is how long a subscription that ends waits for the ack of the message that a handler has; 0: no wait. The
	// message's context ends at once.
	Grace  time.Duration
	Logger watermill.LoggerAdapter // nil: none
}

// Subscriber implements watermill's message.Subscriber.
type Subscriber struct {
	config  Config
	closing chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber makes a Subscriber. Close ends its subscriptions.
func NewSubscriber(config Config) (*Subscriber, error) {
	if config.Source == nil {
		return nil, errors.New("stream: a source is needed")
	}
	if config.Consumer != "" && config.Checkpoints == nil {
		return nil, errors.New("stream: a named consumer needs checkpoints")
	}
	if config.Select == nil {
		config.Select = func(topic string) (Selection, error) { return ParseTopic(topic) }
	}
	if config.Message == nil {
		config.Message = NewMessage
	}
	if config.Redelivery == 0 {
		config.Redelivery = 100 * time.Millisecond
	}
	if config.SaveEvery == 0 {
		config.SaveEvery = time.Second
	}
	if config.Logger == nil {
		config.Logger = watermill.NopLogger{}
	}
	return &Subscriber{config: config, closing: make(chan struct{})}, nil
}

// Subscribe delivers a topic's events until the context ends or the Subscriber is closed; then the
// channel is closed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	selection, err := s.config.Select(topic)
	if err != nil {
		return nil, err
	}
	filter, err := selection.Filter()
	if err != nil {
		return nil, err
	}
	select {
	case <-s.closing:
		return nil, eventstore.ErrClosed
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *message.Message) // closed by the goroutine below; unbuffered: a message is delivered when the reader takes it
	s.running.Go(func() {
		defer close(out)
		defer cancel()
		d := delivery{config: &s.config, topic: topic, filter: filter, out: out}
		d.run(ctx)
	})
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return out, nil
}

// Close ends all subscriptions and waits for them.
func (s *Subscriber) Close() error {
	s.once.Do(func() { close(s.closing) })
	s.running.Wait()
	return nil
}

// maxPause is the longest pause before the Subscriber subscribes again to a source that fails.
const maxPause = 5 * time.Second

// delivery is one subscription.
type delivery struct {
	config   *Config
	topic    string
	filter   eventstore.Filter // what the topic picks
	out      chan<- *message.Message
	position wire.Position // every event up to the position is acked
	saved    wire.Position
	savedAt  time.Time
}

func (d *delivery) run(ctx context.Context) {
	name := d.config.Consumer
	d.position = d.at(d.config.From)
	if name != "" {
		name = CheckpointName(name, d.topic)
		release, err := d.config.Checkpoints.acquire(ctx, name)
		if err != nil {
			return // the context ended
		}
		defer release()
		at, ok, err := d.config.Checkpoints.Load(name)
		if err != nil {
			d.config.Logger.Error("checkpoint cannot be read; the consumer gets its events again", err, watermill.LogFields{"consumer": name, "after": d.position.String()})
		}
		if ok {
			d.position, d.saved = at, at
		}
		defer func() { d.save(name, true) }()
	}
	for wait := d.config.Redelivery; ctx.Err() == nil; wait = min(2*wait, max(maxPause, d.config.Redelivery)) {
		before := d.position
		err := d.follow(ctx, name)
		var other eventstore.OtherTimeline
		switch {
		case err == nil:
			return
		case errors.As(err, &other) && d.position.Number > 0:
			d.goOnAfter(other)
			continue
		case d.position != before:
			wait = d.config.Redelivery
		}
		d.config.Logger.Error("source failed; it is asked again", err, watermill.LogFields{"topic": d.topic, "position": d.position.String()})
		pause(ctx, wait)
	}
}

// goOnAfter changes the position after a restore or a loss of events, when the position counts other events in the source
// than before. The new position is the last position that counts the same events in both, so that the topic gets the
// events that replace the lost events. Without such a position the delivery begins as if there were no checkpoint.
func (d *delivery) goOnAfter(other eventstore.OtherTimeline) {
	was := d.position
	d.position.Number = other.Fork
	if other.Relation != eventstore.Lost {
		d.position = d.at(d.config.From)
		if d.position == was {
			d.position = wire.Position{}
		}
	}
	d.config.Logger.Error("what was told is not in the log any more; the topic goes on after the last event that is", other, watermill.LogFields{
		"consumer": d.config.Consumer, "topic": d.topic, "position": was.String(), "goes_on_after": d.position.String(),
	})
}

// follow delivers the events of the source until the source fails. It returns nil when the context has ended or the source
// is closed.
func (d *delivery) follow(ctx context.Context, name string) error {
	opts := eventstore.SubscribeOptions{After: d.position.Number, Filter: d.filter}
	source := d.config.Source
	switch s := source.(type) {
	case away:
		source = s.on(d.position.Timeline)
	case timelined:
		if _, err := s.Timelines().Own(d.position.Timeline, d.position.Number); err != nil {
			return err
		}
	}
	return projections.Follow(ctx, source, opts, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		for i := range events {
			if !d.deliver(ctx, &events[i]) {
				return ctx.Err()
			}
			d.position = wire.PositionOf(&events[i])
			d.save(name, false)
		}
		if position > d.position.Number {
			d.position = d.at(position)
		}
		d.save(name, false)
		return nil
	})
}

// deliver delivers an event until the event is acked; false: the context ended first.
func (d *delivery) deliver(ctx context.Context, e *eventstore.RecordedEvent) bool {
	for {
		m, err := d.config.Message(e)
		if err != nil {
			d.config.Logger.Error("event has no message and is passed over", err, watermill.LogFields{"position": e.Position})
			return true
		}
		of, done := context.WithCancel(ctx)
		m.SetContext(of)
		select {
		case d.out <- m:
		case <-ctx.Done():
			done()
			return false
		}
		select {
		case <-m.Acked():
			done()
			return true
		case <-m.Nacked():
			done()
			pause(ctx, d.config.Redelivery)
		case <-ctx.Done():
			done()
			grace := time.NewTimer(d.config.Grace)
			defer grace.Stop()
			select {
			case <-m.Acked():
				return true
			case <-m.Nacked():
			case <-grace.C:
			}
			select {
			case <-m.Acked(): // as well as the grace ended: an ack that was given counts
				return true
			default:
				return false
			}
		}
	}
}

func (d *delivery) save(name string, now bool) {
	if name == "" || d.position == d.saved || !now && time.Since(d.savedAt) < d.config.SaveEvery {
		return
	}
	d.savedAt = time.Now()
	if err := d.config.Checkpoints.Save(name, d.position); err != nil {
		d.config.Logger.Error("checkpoint cannot be saved; after a restart events come again", err, watermill.LogFields{"consumer": name})
		return
	}
	d.saved = d.position
}

// timelined is a source in this process, which says its timelines. They do not change meanwhile.
type timelined interface{ Timelines() eventstore.Timelines }

// away is a source that may be restored while it is followed: it is told the timeline of the position after which it
// is asked to go on, and refuses with an eventstore.OtherTimeline.
type away interface{ on(timeline string) Source }

// at is a position of the source, as far as the source says its timelines.
func (d *delivery) at(p eventstore.Position) wire.Position {
	if source, ok := d.config.Source.(timelined); ok {
		return wire.Position{Timeline: source.Timelines().Of(p), Number: p}
	}
	return wire.Position{Number: p}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// NewMessage makes an event's message: its payload is the event in JSON as /v1/events has it, its
// id the event's, its metadata position, revision, stream and type.
func NewMessage(e *eventstore.RecordedEvent) (*message.Message, error) {
	m := message.NewMessage(e.ID.String(), eventstore.AppendJSON(nil, e))
	m.Metadata = message.Metadata{
		"position": wire.PositionOf(e).String(), "revision": strconv.FormatUint(uint64(e.Revision), 10),
		"stream": string(e.Stream), "type": e.Type, "recorded_at": e.RecordedAt.Format(time.RFC3339Nano),
	}
	return m, nil
}

// ReadMessage is the event in a message that NewMessage made.
func ReadMessage(m *message.Message) (eventstore.RecordedEvent, error) {
	e, err := eventstore.ParseJSON(m.Payload)
	if err == nil && !json.Valid(e.Data) {
		err = fmt.Errorf("event at position %d: its data is not JSON", e.Position)
	}
	return e, err
}
