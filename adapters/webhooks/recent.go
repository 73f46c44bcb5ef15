package webhooks

import (
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// item is an event that is to be delivered. Its message's body is made once for all webhooks.
type item struct {
	eventstore.RecordedEvent
	made sync.Once
	body []byte
	err  error
}

// message makes the event's message; each attempt gets one of its own.
func (i *item) message(storeID string) (*message.Message, error) {
	i.made.Do(func() {
		m, err := NewMessage(storeID)(&i.RecordedEvent)
		if i.err = err; err == nil {
			i.body = m.Payload
		}
	})
	if i.err != nil {
		return nil, i.err
	}
	return message.NewMessage(i.ID.String(), i.body), nil
}

// What is kept of the log's newest events: most webhooks deliver an event soon after the follower has found it, and need
// not ask the store for it again.
const (
	recentEvents = 1024
	recentBytes  = 4 << 20 // of the events' data; a message takes as much again
)

// recent holds the newest events that the follower has seen: all of them after the position since.
type recent struct {
	since eventstore.Position
	items []*item
	bytes int
}

// begin empties it: what comes after a position will be added.
func (r *recent) begin(since eventstore.Position) { *r = recent{since: since} }

func (r *recent) add(e *eventstore.RecordedEvent) {
	r.items = append(r.items, &item{RecordedEvent: *e})
	r.bytes += len(e.Data) + len(e.Metadata)
	for len(r.items) > recentEvents || r.bytes > recentBytes {
		first := r.items[0]
		r.since, r.items[0], r.items = first.Position, nil, r.items[1:]
		r.bytes -= len(first.Data) + len(first.Metadata)
	}
}

// after gives events after a position that picks picks, in order; ok is false if it does not hold them all.
func (r *recent) after(p eventstore.Position, picks func(*eventstore.RecordedEvent) bool, limit int) (found []*item, ok bool) {
	if p < r.since {
		return nil, false
	}
	begin := len(r.items)
	for begin > 0 && r.items[begin-1].Position > p {
		begin--
	}
	for _, i := range r.items[begin:] {
		if len(found) == limit {
			break
		}
		if picks(&i.RecordedEvent) {
			found = append(found, i)
		}
	}
	return found, true
}
