// Package eventstore is the spine's port: what the rest of Rollcall asks of any event store, and
// what every event store adapter promises. Package eventstoretest states the promises as tests.
//
// An event belongs to one stream, where its revision counts from 0 without a gap, and to the whole
// store, where its position only grows. What a reader or a subscription yields is durable.
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
	// Append writes the events of every request, each request to one stream and all or nothing,
	// and returns when all that it accepted is durable. Requests take effect in their order. A
	// request whose precondition fails, on its stream or on the one that it is tied to, gets a
	// *WrongExpectedRevision in its own result and harms no other. The error is for what concerns all requests: a closed or failed store, or a context
	// that ended, after which the outcome is unknown.
	//
	// A request that repeats event ids which already stand in its stream just where it would have
	// put them is a retry: it is answered as it was the first time and writes nothing. With the
	// preconditions Any and StreamExists that holds while they are the stream's newest events.
	//
	// The results are appended to into, which may be nil, so that who appends often can use the room
	// again. After an error the store may hold on to the requests and to into.
	Append(ctx context.Context, into []AppendResult, requests ...AppendRequest) ([]AppendResult, error)
	// ReadStream yields a stream's events in the order of their revisions. An unknown stream has none.
	ReadStream(ctx context.Context, stream StreamName, opts ReadOptions) iter.Seq2[RecordedEvent, error]
	// ReadAll yields events of all streams in the order of their positions.
	ReadAll(ctx context.Context, opts ReadAllOptions) iter.Seq2[RecordedEvent, error]
	// Subscribe yields every event after a position, first those that stand, then those that come,
	// in order, with no gap and no repeat. A slow subscriber slows no append.
	Subscribe(ctx context.Context, opts SubscribeOptions) (Subscription, error)
	// Head is the position of the last durable event, 0 in an empty store.
	Head(ctx context.Context) (Position, error)
	// Timelines are the histories that the store's positions may belong to. They do not change while the
	// store is open.
	Timelines() Timelines
	// Close ends all subscriptions, finishes the appends under way and frees the store.
	io.Closer
}

// Position is an event's place in the whole store. The first event's is greater than 0; positions
// grow, not always by one. 0 is before all events.
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
)

// AuditedPrefixes are those of the streams whose events are kept for ever, told by the history and
// leaves of the tamper-evident tree: all of ours but heartbeats.
func AuditedPrefixes() []string {
	return []string{LifecyclePrefix, string(RegistryStream), WebhookPrefix}
}

// Audited says whether the stream is one of AuditedPrefixes.
func (s StreamName) Audited() bool {
	for _, prefix := range [...]string{LifecyclePrefix, string(RegistryStream), WebhookPrefix} {
		if strings.HasPrefix(string(s), prefix) {
			return true
		}
	}
	return false
}

// Prefixes are those of the streams of a namespace ("": all), a service or an instance, with or
// without heartbeats. A service without a namespace is in the default one. An instance's prefixes are its
// streams' whole names: a Filter that is not Exact picks others whose ids begin like its own, too.
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

// LifecycleStream is where an instance's life is told; it is kept for ever.
func LifecycleStream(k domain.Key) StreamName {
	return StreamName(LifecyclePrefix + k.Namespace + "/" + k.Service + "/" + k.ID)
}

// WebhookStream is where a webhook's life is told.
func WebhookStream(id string) StreamName { return StreamName(WebhookPrefix + id) }

// HeartbeatStream is where an instance's heartbeats stand; it has a retention.
func HeartbeatStream(k domain.Key) StreamName {
	return StreamName(HeartbeatPrefix + k.Namespace + "/" + k.Service + "/" + k.ID)
}

// Other is the same instance's other stream: its heartbeats for its life, and its life for its heartbeats. Any
// other stream has none, and ok is false.
func (s StreamName) Other() (other StreamName, ok bool) {
	if rest, ok := strings.CutPrefix(string(s), LifecyclePrefix); ok {
		return HeartbeatPrefix + StreamName(rest), true
	}
	if rest, ok := strings.CutPrefix(string(s), HeartbeatPrefix); ok {
		return LifecyclePrefix + StreamName(rest), true
	}
	return "", false
}

// IsHeartbeat says whether the stream is an instance's heartbeats.
func (s StreamName) IsHeartbeat() bool { return strings.HasPrefix(string(s), HeartbeatPrefix) }

// InstanceKey is the instance whose stream this is; of any other stream it is the zero key, and ok is false.
func (s StreamName) InstanceKey() (key domain.Key, ok bool) {
	rest, ok := strings.CutPrefix(string(s), LifecyclePrefix)
	if !ok {
		if rest, ok = strings.CutPrefix(string(s), HeartbeatPrefix); !ok {
			return key, false
		}
	}
	namespace, rest, _ := strings.Cut(rest, "/")
	service, id, ok := strings.Cut(rest, "/")
	if !ok {
		return key, false
	}
	return domain.Key{Namespace: namespace, Service: service, ID: id}, true
}

// EventData is an event that is to be appended.
type EventData struct {
	ID       uuid.UUID // the zero id asks the store to make one
	Type     string
	Data     []byte // JSON
	Metadata []byte // a JSON object
}

// RecordedEvent is an event that stands in the store. Its bytes must not be changed.
type RecordedEvent struct {
	EventData
	Stream     StreamName
	Revision   Revision
	Position   Position
	Timeline   string    // on which the event was recorded: the store's, or one that it left later; "": its first
	RecordedAt time.Time // UTC; never before an earlier position's
	// StreamNumber is a small number of the stream's own, for readers that would look its name up at every
	// event. It is good as long as the store is open; 0: the store gives this stream none. Only streams of
	// heartbeats have one.
	StreamNumber uint32
}

// IsHeartbeat says whether the event is of a stream of heartbeats.
func (e *RecordedEvent) IsHeartbeat() bool { return e.StreamNumber != 0 || e.Stream.IsHeartbeat() }

// AppendRequest asks for events to be put at the end of one stream.
type AppendRequest struct {
	Stream   StreamName
	Expected ExpectedRevision
	// Other ties the append to the instance's other stream: it is a precondition on that stream which holds at
	// the same instant as Expected. For a lifecycle stream the other is the instance's heartbeats, and the other way
	// round. The zero value ties nothing. A store that cannot look at two streams at once appends without
	// a look at the other, and says so in AppendResult.Untied.
	Other  ExpectedRevision
	Events []EventData // at least one
	// At is when events that come from another store were recorded there; zero: they are new.
	At time.Time
	// StreamNumber may name the stream instead of Stream, as this store, since it was opened, told it in an
	// AppendResult; 0: Stream names it. It spares the store the search for the name.
	StreamNumber uint32
}

// AppendResult is the outcome of one request.
type AppendResult struct {
	Position Position // of the request's last event
	Revision Revision // of the request's last event
	Err      error    // *WrongExpectedRevision, or nil
	// StreamNumber is the stream's, see RecordedEvent; 0: it has none.
	StreamNumber uint32
	// Untied says that the request's Other was not checked: this store cannot. Whoever asked finds out from
	// the positions what stood in the other stream.
	Untied bool
}

// ReadOptions says which of a stream's events to yield.
type ReadOptions struct {
	From      Revision // the first to yield; backwards, FromEnd begins at the newest
	Backwards bool
	Limit     int // 0: no limit
}

// FromEnd is the place to read backwards from when one wants the newest event first.
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

// SkipsHeartbeats says whether no heartbeat stream can match, so that a store need not look at them.
func (f Filter) SkipsHeartbeats() bool { return f.skips(true) }

// SkipsLifecycle says whether only heartbeat streams can match.
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
	// Next waits for events after those it returned before. It returns at least one event, or the
	// error that ended the subscription: the context's, or ErrClosed. The slice is the caller's
	// until the next call.
	//
	// position is up to where the store has been looked through: the last event's, or a later one
	// when the filter passed events over.
	Next(ctx context.Context) (events []RecordedEvent, position Position, err error)
	io.Closer
}
