package domain

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// UnknownEvent is a stored event that this version has no meaning for.
type UnknownEvent struct {
	Type   string
	Schema int
}

func (e UnknownEvent) Error() string {
	return fmt.Sprintf("event type %q (schema %d) is not known to this version", e.Type, e.Schema)
}

// Encode gives the event's stored form: JSON, so that any tool can show it.
func Encode(event Event) ([]byte, error) {
	if e, ok := event.(HeartbeatReceived); ok { // the hot path needs no reflection
		b := append(make([]byte, 0, 24), `{"epoch":`...)
		return append(strconv.AppendUint(b, e.Epoch, 10), '}'), nil
	}
	return json.Marshal(event)
}

// DecodeEvent reads what Encode wrote, in this schema version or an earlier one.
func DecodeEvent(eventType string, data []byte) (Event, error) {
	switch eventType {
	case TypeInstanceRegistered:
		return decode[InstanceRegistered](data)
	case TypeInstanceUpdated:
		return decode[InstanceUpdated](data)
	case TypeHeartbeatReceived:
		return decodeHeartbeat(data)
	case TypeHealthChanged:
		return decode[HealthChanged](data)
	case TypeTrafficChanged:
		return decode[TrafficChanged](data)
	case TypeInstanceDeregistered:
		return decode[InstanceDeregistered](data)
	case TypeLeaseExpired:
		return decode[LeaseExpired](data)
	case TypeSelfPreservationStarted:
		return decode[SelfPreservationStarted](data)
	case TypeSelfPreservationEnded:
		return decode[SelfPreservationEnded](data)
	case TypeWebhookCreated:
		return decode[WebhookCreated](data)
	case TypeWebhookPaused:
		return decode[WebhookPaused](data)
	case TypeWebhookResumed:
		return decode[WebhookResumed](data)
	case TypeWebhookReplayed:
		return decode[WebhookReplayed](data)
	case TypeWebhookDeleted:
		return decode[WebhookDeleted](data)
	}
	return nil, UnknownEvent{Type: eventType}
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.EventType(), err)
	}
	return e, nil
}

const heartbeatPrefix = `{"epoch":`

func decodeHeartbeat(data []byte) (Event, error) {
	if n := len(data) - 1; n > len(heartbeatPrefix) && string(data[:len(heartbeatPrefix)]) == heartbeatPrefix && data[n] == '}' {
		if epoch, err := strconv.ParseUint(string(data[len(heartbeatPrefix):n]), 10, 64); err == nil {
			return HeartbeatReceived{Epoch: epoch}, nil
		}
	}
	return decode[HeartbeatReceived](data)
}
