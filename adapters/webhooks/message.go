package webhooks

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

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
