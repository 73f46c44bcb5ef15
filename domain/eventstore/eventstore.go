// Package eventstore is the event store port: the interface that Rollcall needs of any event store, and the promises of every
// event store adapter. Package eventstoretest has the promises as tests.
//
// An event belongs to one stream, in which revisions count from 0 without a gap. It has a position in the whole store;
// positions only grow. Every event that a reader or a subscription yields is durable.
package eventstore

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
)

// Store is an append-only store of events in streams.
type Store interface {
	// Append writes the events of every request. A request concerns one stream, and either all of its events are written or
	// none. Append returns when all accepted events are durable. Requests take effect in their order. A request whose
	// precondition fails, on its own stream or on the stream to which it is tied, gets a *WrongExpectedRevision in its result,
	// and the other requests are not affected. The error is for all requests: the store is closed or has failed, or the
	// context has ended, and then the outcome is unknown.
	//
	// A request is a retry if its event ids are already in its stream, at the place where the request would have put them. A
	// retry gets the result of the first attempt, and nothing is written. With the preconditions Any and StreamExists this
	// holds as long as these events are the newest in the stream.
	//
	// INVARIANT: the caller owns the requests and into. The results are appended to into, which may be nil, so that a caller
	// can use the memory of results again. After an error the store may still read the requests and write to into, so the
	// caller must not use their memory again.
	Append(ctx context.Context, into []AppendResult, requests ...AppendRequest) ([]AppendResult, error)
	// ReadStream yields a stream's events in the order of their revisions. An unknown stream has none.
	ReadStream(ctx context.Context, stream StreamName, opts ReadOptions) iter.Seq2[RecordedEvent, error]
	// ReadAll yields events of all streams in the order of their positions.
	ReadAll(ctx context.Context, opts ReadAllOptions) iter.Seq2[RecordedEvent, error]
	// Subscribe yields every event after a position: first the recorded events, then new events as they are recorded, in
	// order, without a gap or a repeat. A slow subscriber slows no append.
	Subscribe(ctx context.Context, opts SubscribeOptions) (Subscription, error)
	// Head is the position of the last durable event, 0 in an empty store.
	Head(ctx context.Context) (Position, error)
	// Timelines are the histories that the store's positions may belong to. They do not change while the
	// store is open.
	Timelines() Timelines
	// Close ends all subscriptions, finishes the appends under way and frees the store.
	io.Closer
}

// Position is an event's place in the whole store. Positions grow, but not always by one. Every event has a position
// greater than 0; 0 is before all events.
type Position uint64

// Revision is an event's place in its stream, from 0.
type Revision uint64

// StreamName names a stream.
type StreamName string

// The kinds of streams.
const (
	LifecyclePrefix            = "instance-"
	HeartbeatPrefix            = "heartbeat-"
	RegistryStream  StreamName = "registry"
	WebhookPrefix              = "webhook-"
	AccessStream    StreamName = "access"
	PolicyStream    StreamName = "policies"
	GuardPrefix                = "guard-"
)

// AuditedPrefixes are the prefixes of the audited streams: all streams of Rollcall but heartbeats. Their events are kept for
// ever, are in the history, and are the leaves of the Merkle tree.
func AuditedPrefixes() []string {
	return []string{LifecyclePrefix, string(RegistryStream), WebhookPrefix, string(AccessStream), string(PolicyStream), GuardPrefix}
}

// Audited says whether the stream is one of AuditedPrefixes.
func (s StreamName) Audited() bool {
	for _, prefix := range [...]string{LifecyclePrefix, string(RegistryStream), WebhookPrefix, string(AccessStream), string(PolicyStream), GuardPrefix} {
		if strings.HasPrefix(string(s), prefix) {
			return true
		}
	}
	return false
}

// Prefixes are the prefixes of the streams of a namespace ("": all), a service or an instance, with or without heartbeats. A
// service without a namespace is in the default namespace. The prefixes of an instance are the whole names of its streams;
// a Filter that is not Exact also picks instances whose ids begin with the instance's id.
func Prefixes(namespace, service, instance string, heartbeats bool) ([]string, error) {
	suffix := ""
	if service != "" && namespace == "" {
		namespace = domain.DefaultNamespace
	}
	switch {
	case instance != "" && service == "":
		return nil, domain.InvalidField{Field: "instance", Rule: "must be used with service"}
	case instance != "":
		key := domain.Key{Namespace: namespace, Service: service, ID: instance}
		if err := key.Validate(); err != nil {
			return nil, err
		}
		suffix = key.String()
	case service != "":
		key := domain.ServiceKey{Namespace: namespace, Service: service}
		if err := key.Validate(); err != nil {
			return nil, err
		}
		suffix = key.String() + "/"
	case namespace != "":
		if err := domain.ValidateLabel("ns", namespace); err != nil {
			return nil, err
		}
		suffix = namespace + "/"
	}
	prefixes := []string{LifecyclePrefix + suffix}
	if suffix == "" {
		prefixes = AuditedPrefixes()
	}
	if heartbeats {
		prefixes = append(prefixes, HeartbeatPrefix+suffix)
	}
	return prefixes, nil
}

// LifecycleStream is the stream of an instance's lifecycle events. They are kept for ever.
func LifecycleStream(k domain.Key) StreamName {
	return StreamName(LifecyclePrefix + k.Namespace + "/" + k.Service + "/" + k.ID)
}

// AppendLifecycleStream appends the name of LifecycleStream.
func AppendLifecycleStream(b []byte, k domain.Key) []byte {
	b = append(append(append(b, LifecyclePrefix...), k.Namespace...), '/')
	return append(append(append(b, k.Service...), '/'), k.ID...)
}

// WebhookStream is the stream of a webhook's events.
func WebhookStream(id string) StreamName { return StreamName(WebhookPrefix + id) }

// GuardStream is the stream of the removals in a namespace that policies admitted.
func GuardStream(namespace string) StreamName { return StreamName(GuardPrefix + namespace) }

// HeartbeatStream is the stream of an instance's heartbeats. It has a retention.
func HeartbeatStream(k domain.Key) StreamName {
	return StreamName(HeartbeatPrefix + k.Namespace + "/" + k.Service + "/" + k.ID)
}

// Other is the other stream of the same instance: the heartbeat stream of a lifecycle stream, and the lifecycle stream of a
// heartbeat stream. ok is false for every stream that is not an instance's.
func (s StreamName) Other() (other StreamName, ok bool) {
	if rest, ok := strings.CutPrefix(string(s), LifecyclePrefix); ok {
		return HeartbeatPrefix + StreamName(rest), true
	}
	if rest, ok := strings.CutPrefix(string(s), HeartbeatPrefix); ok {
		return LifecyclePrefix + StreamName(rest), true
	}
	return "", false
}

// IsHeartbeat says whether the stream is a heartbeat stream.
func (s StreamName) IsHeartbeat() bool { return strings.HasPrefix(string(s), HeartbeatPrefix) }

// InstanceKey is the key of the instance to which the stream belongs. ok is false for every other stream.
func (s StreamName) InstanceKey() (key domain.Key, ok bool) {
	rest, ok := strings.CutPrefix(string(s), LifecyclePrefix)
	if !ok {
		rest, ok = strings.CutPrefix(string(s), HeartbeatPrefix)
	}
	if !ok {
		return key, false
	}
	namespace, rest, _ := strings.Cut(rest, "/")
	service, id, ok := strings.Cut(rest, "/")
	if !ok {
		return key, false
	}
	return domain.Key{Namespace: namespace, Service: service, ID: id}, true
}

// EventData is an event to be appended.
type EventData struct {
	ID       uuid.UUID // the zero id asks the store to make one
	Type     string
	Data     []byte // JSON
	Metadata []byte // a JSON object
}

// RecordedEvent is an event in the store. INVARIANT: nobody changes the bytes of Data and Metadata.
type RecordedEvent struct {
	EventData
	Stream     StreamName
	Revision   Revision
	Position   Position
	Timeline   string    // the timeline on which the event was recorded; "": the store's first
	RecordedAt time.Time // UTC; never before the time of an earlier position
	// StreamNumber is a small number that stands for the stream, so that a reader need not look the stream's name up for
	// every event. It holds as long as the store is open. 0: the stream has no number. Only heartbeat streams have one.
	StreamNumber uint32
}

// IsHeartbeat says whether the event is in a heartbeat stream.
func (e *RecordedEvent) IsHeartbeat() bool { return e.StreamNumber != 0 || e.Stream.IsHeartbeat() }

// AppendRequest asks to append events to one stream.
type AppendRequest struct {
	Stream   StreamName
	Expected ExpectedRevision
	// Other ties the append to the instance's other stream (StreamName.Other). It is a precondition on that stream, which
	// holds at the same instant as Expected. The zero value ties nothing. A store that cannot check two streams at once
	// appends without a check of Other, and says so in AppendResult.Untied.
	Other  ExpectedRevision
	Events []EventData // at least one
	// At is when the events were recorded in another store, from which they come; zero: they are new.
	At time.Time
	// StreamNumber names the stream instead of Stream, so that the store need not look the name up. REQUIRES: the store
	// gave the number in an AppendResult since it was opened. 0: Stream names the stream.
	StreamNumber uint32
	// Instance is the instance whose heartbeat stream StreamNumber names, so that the store need not look the stream's name up where it
	// keeps the number only. Zero: not said.
	Instance domain.Key
	// Seen is a position at which Other held: the caller has applied all events up to it. So the store need not look at the
	// other stream where that has no event after Seen. 0: not said.
	Seen Position
	// Term, if it is not 0, is the term in which this node judged the request as the leader (see Leadership). In any other
	// term the request gets ErrOtherTerm in its result.
	Term uint64
	// Together, on the first request of a call, binds the requests to each other: unless Expected holds for all of them, none
	// takes effect. REQUIRES: no two requests of the call are for one stream, and none is tied. A store that cannot bind
	// streams carries out each request by itself.
	Together bool
}

// AppendResult is the outcome of one request.
type AppendResult struct {
	Position Position // of the request's last event
	Revision Revision // of the request's last event
	Err      error    // *WrongExpectedRevision, ErrNotTogether, ErrOtherTerm, or nil
	// StreamNumber is the number of the stream, see RecordedEvent; 0: it has none.
	StreamNumber uint32
	// Untied says that the request's Other was not checked, because this store cannot. The caller finds out from the
	// positions which events of the other stream came before.
	Untied bool
}

// ReadOptions says which of a stream's events to yield.
type ReadOptions struct {
	From      Revision // the first revision to yield; to read backwards from the newest, FromEnd
	Backwards bool
	Limit     int // 0: no limit
}

// FromEnd is the revision from which a stream is read backwards to begin with its newest event.
const FromEnd Revision = 1<<63 - 1

// ReadAllOptions says which of the store's events to yield.
type ReadAllOptions struct {
	After     Position // yield events after this position; backwards, before it (0: from the end)
	To        Position // yield no event after this one; backwards, none before it. 0: no bound
	Backwards bool
	Filter    Filter
	Limit     int // events yielded; 0: no limit
}

// SubscribeOptions says which events to yield.
type SubscribeOptions struct {
	After  Position // 0: from the beginning
	Filter Filter
	Urgent bool // others wait for what this subscriber makes of the events: it is woken first, where a store can
	// OnlyPicked says that the subscriber does without the positions of events that the filter does not pick: a store need not wake
	// it for them.
	OnlyPicked bool
	// Gather says that the subscriber comes seldom: Next gives the events of many appends at once, where a store can.
	Gather bool
}

// Filter picks events. The zero Filter picks all.
type Filter struct {
	StreamPrefixes []string // any of them; none: every stream
	Exact          bool     // StreamPrefixes are the streams' whole names, not only how the names begin
	Types          []string // any of them; none: every type
}

// Match says whether the filter picks the event.
func (f Filter) Match(stream StreamName, eventType string) bool {
	return f.matchStream(stream) && f.matchType(eventType)
}

func (f Filter) matchStream(stream StreamName) bool {
	for _, prefix := range f.StreamPrefixes {
		if strings.HasPrefix(string(stream), prefix) && (!f.Exact || len(stream) == len(prefix)) {
			return true
		}
	}
	return len(f.StreamPrefixes) == 0
}

func (f Filter) matchType(eventType string) bool {
	for _, t := range f.Types {
		if t == eventType {
			return true
		}
	}
	return len(f.Types) == 0
}

// SkipsHeartbeats says whether the filter picks no heartbeat, so that a store need not read heartbeats.
func (f Filter) SkipsHeartbeats() bool { return f.skips(true) }

// SkipsLifecycle says whether the filter picks only heartbeats.
func (f Filter) SkipsLifecycle() bool { return f.skips(false) }

func (f Filter) skips(heartbeats bool) bool {
	if len(f.StreamPrefixes) == 0 {
		return false
	}
	for _, prefix := range f.StreamPrefixes {
		shorter := strings.HasPrefix(HeartbeatPrefix, prefix) // picks streams of both kinds
		if shorter || strings.HasPrefix(prefix, HeartbeatPrefix) == heartbeats {
			return false
		}
	}
	return true
}

// Subscription yields batches of events.
type Subscription interface {
	// Next waits for the events after the events that it returned before. It returns at least one event, or an error: the
	// context's, or ErrClosed when the subscription or the store is closed.
	//
	// INVARIANT: the store owns the slice. The caller may read it until the next call, and must not change it. The bytes
	// that events point to never change, so the caller may keep copies of events.
	//
	// position is the position up to which the store was read: the last event's, or a later position if the filter did not
	// pick the events up to there.
	Next(ctx context.Context) (events []RecordedEvent, position Position, err error)
	io.Closer
}
