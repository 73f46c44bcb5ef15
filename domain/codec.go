package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// UnknownEvent is the error of a stored event that this version does not know.
type UnknownEvent struct {
	Type   string
	Schema int
}

func (e UnknownEvent) Error() string {
	return fmt.Sprintf("event type %q (schema %d) is not known to this version", e.Type, e.Schema)
}

// Encode gives the event's stored form: JSON, so that any tool can show it.
func Encode(event Event) ([]byte, error) {
	if beat, ok := event.(HeartbeatReceived); ok {
		return beat.Encode(), nil
	}
	return AppendEncoded(nil, event)
}

// AppendEncoded appends the result of Encode.
func AppendEncoded(b []byte, event Event) ([]byte, error) {
	if registered, ok := event.(InstanceRegistered); ok {
		return registered.AppendEncoded(b)
	}
	return appendJSON(b, event)
}

// AppendEncoded appends the result of Encode. It takes no memory for an Event.
func (e *InstanceRegistered) AppendEncoded(b []byte) ([]byte, error) {
	if data, ok := e.appendPlain(b); ok {
		return data, nil
	}
	return appendJSON(b, *e)
}

func appendJSON(b []byte, event Event) ([]byte, error) {
	data, err := json.Marshal(event)
	if b == nil {
		return data, err
	}
	return append(b, data...), err
}

// Encode is the event's stored form. INVARIANT: nobody changes the bytes, because all heartbeats of an epoch share them.
func (e HeartbeatReceived) Encode() []byte {
	if e.Check != "" {
		return encodeRenewal(e)
	}
	if e.Epoch < uint64(len(commonHeartbeats)) {
		return commonHeartbeats[e.Epoch]
	}
	return encodeHeartbeat(e.Epoch)
}

var commonHeartbeats = func() (data [256][]byte) {
	for epoch := range data {
		data[epoch] = slices.Clip(encodeHeartbeat(uint64(epoch)))
	}
	return data
}()

func encodeHeartbeat(epoch uint64) []byte {
	b := append(make([]byte, 0, 24), heartbeatPrefix...)
	return append(strconv.AppendUint(b, epoch, 10), '}')
}

// encodeRenewal is the stored form of the renewal of a check, whose id needs no escapes.
func encodeRenewal(e HeartbeatReceived) []byte {
	b := append(make([]byte, 0, 48), heartbeatPrefix...)
	b = append(strconv.AppendUint(b, e.Epoch, 10), renewalField...)
	return append(append(b, e.Check...), '"', '}')
}

// RenewedCheck is the id of the check that a heartbeat's data names, in the form in which Encode writes it. ok is false for
// the heartbeat of a lease. It is cheap.
func RenewedCheck(data []byte) (check []byte, ok bool) {
	if len(data) < 2 || data[len(data)-2] != '"' { // nearly every heartbeat
		return nil, false
	}
	at := bytes.Index(data, []byte(renewalField))
	if at < 0 {
		return nil, false
	}
	return data[at+len(renewalField) : len(data)-2], true
}

// upcasters turn data of one schema version into data of the next version, by event type and the version from which they
// start. Stored events are never rewritten, so an upcaster is never removed.
var upcasters = map[upcast]func(data []byte) ([]byte, error){
	{TypeLeaseExpired, 1}:  heardByEither,
	{TypeHealthChanged, 1}: heardByEither,
}

// heardByEither: what schema 1 calls the last heartbeat may be the registration.
func heardByEither(data []byte) ([]byte, error) {
	was := []byte(`"last_heartbeat":`)
	if !bytes.Contains(data, was) { // as in most changes of health
		return data, nil
	}
	return bytes.Replace(data, was, []byte(`"last_heard":`), 1), nil
}

type upcast struct {
	eventType string
	from      int // schema version
}

// Upcast gives an event's data in the form of SchemaVersion. Data of a newer version gives an UnknownEvent.
func Upcast(eventType string, schema int, data []byte) ([]byte, error) {
	if schema > SchemaVersion {
		return nil, UnknownEvent{Type: eventType, Schema: schema}
	}
	for from := max(schema, 1); from < SchemaVersion; from++ {
		up, ok := upcasters[upcast{eventType, from}]
		if !ok {
			continue // this version left the type as it was
		}
		var err error
		if data, err = up(data); err != nil {
			return nil, fmt.Errorf("upcast %s from schema %d: %w", eventType, from, err)
		}
	}
	return data, nil
}

// SchemaOf is the schema version that an event's metadata names; 1: it names none.
func SchemaOf(metadata []byte) int {
	var m struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(metadata, &m) != nil || m.Schema < 1 {
		return 1 // another program's metadata may be anything
	}
	return m.Schema
}

// DecodeEvent decodes data that Encode made, of this schema version or an earlier one.
func DecodeEvent(eventType string, data []byte) (Event, error) {
	switch eventType {
	case TypeInstanceRegistered:
		if e, ok := plainRegistered(data); ok {
			return meaningful(e)
		}
		return decode[InstanceRegistered](data)
	case TypeInstanceUpdated:
		if e, ok := plainUpdated(data); ok {
			return meaningful(e)
		}
		return decode[InstanceUpdated](data)
	case TypeHeartbeatReceived:
		return decodeHeartbeat(data)
	case TypeHealthChanged:
		if e, ok := plainHealth(data); ok {
			return meaningful(e)
		}
		return decode[HealthChanged](data)
	case TypeTrafficChanged:
		if e, ok := plainTraffic(data); ok {
			return meaningful(e)
		}
		return decode[TrafficChanged](data)
	case TypeInstanceDeregistered:
		return decode[InstanceDeregistered](data)
	case TypeLeaseExpired:
		return decode[LeaseExpired](data)
	case TypeCheckAdded:
		return decode[CheckAdded](data)
	case TypeCheckRemoved:
		return decode[CheckRemoved](data)
	case TypeCheckChanged:
		return decode[CheckChanged](data)
	case TypeSelfPreservationStarted:
		return decode[SelfPreservationStarted](data)
	case TypeSelfPreservationEnded:
		return decode[SelfPreservationEnded](data)
	case TypeTimelineBegan:
		return decode[TimelineBegan](data)
	case TypeListeningInterrupted:
		return decode[ListeningInterrupted](data)
	case TypeClusterStarted:
		return decode[ClusterStarted](data)
	case TypeMemberAdded:
		return decode[MemberAdded](data)
	case TypeMemberRemoved:
		return decode[MemberRemoved](data)
	case TypeClusterRecovered:
		return decode[ClusterRecovered](data)
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
	case TypeTokenCreated:
		return decode[TokenCreated](data)
	case TypeTokenRotated:
		return decode[TokenRotated](data)
	case TypeTokenRevoked:
		return decode[TokenRevoked](data)
	case TypeRoleSet:
		return decode[RoleSet](data)
	case TypeRoleRemoved:
		return decode[RoleRemoved](data)
	case TypePolicySet:
		return decode[PolicySet](data)
	case TypePolicyRemoved:
		return decode[PolicyRemoved](data)
	case TypeRemovalAdmitted:
		return decode[RemovalAdmitted](data)
	case TypeRemovalsStopped:
		return decode[RemovalsStopped](data)
	case TypeRemovalWithdrawn:
		return decode[RemovalWithdrawn](data)
	}
	return nil, UnknownEvent{Type: eventType}
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.EventType(), err)
	}
	return meaningful(e)
}

// meaningful is the event, if it has a meaning.
func meaningful[E Event](e E) (Event, error) {
	if m, ok := any(e).(interface{ meaningless() error }); ok {
		if err := m.meaningless(); err != nil {
			return nil, fmt.Errorf("decode %s: %w", e.EventType(), err)
		}
	}
	return e, nil
}

// meaningless is why an event that another program wrote has no meaning; nil: it has one. Such an event cannot be decoded.
// Every reader passes over events that cannot be decoded, so all readers fold a stream to the same state.

func (e InstanceRegistered) meaningless() error {
	return errors.Join(e.Status.Validate("status"), e.Reported.validateSaid())
}
func (e InstanceUpdated) meaningless() error {
	return errors.Join(e.Status.Validate("status"), e.Reported.validateSaid())
}
func (e HealthChanged) meaningless() error {
	return errors.Join(e.To.Validate("to"), e.Reported.validateSaid())
}
func (e TrafficChanged) meaningless() error { return e.To.validate("to") }
func (e CheckChanged) meaningless() error   { return e.To.Validate("to") }

// validateSaid is Validate of what an instance says of itself; "": it says nothing besides its status.
func (s Status) validateSaid() error {
	if s == "" {
		return nil
	}
	return s.Validate("reported")
}

const (
	heartbeatPrefix = `{"epoch":`
	renewalField    = `,"check":"`
)

func decodeHeartbeat(data []byte) (Event, error) {
	if n := len(data) - 1; n > len(heartbeatPrefix) && string(data[:len(heartbeatPrefix)]) == heartbeatPrefix && data[n] == '}' {
		if epoch, err := strconv.ParseUint(string(data[len(heartbeatPrefix):n]), 10, 64); err == nil {
			return HeartbeatReceived{Epoch: epoch}, nil
		}
	}
	return decode[HeartbeatReceived](data)
}
