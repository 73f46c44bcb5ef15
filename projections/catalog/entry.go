package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Entry is a live instance at a moment. It is immutable: a change makes a new one.
//
// There are as many as there are instances, so it is small: names that instances share are pointed to or
// numbered, times are numbers, and what the instance said of itself is kept as the event's bytes and
// decoded when asked for.
type Entry struct {
	facts
	states
	heartbeats uint32 // see HeartbeatStream; atomic
}

type facts struct {
	Epoch    uint64
	Events   uint64 // lifecycle events so far; the revision is one less
	Position eventstore.Position
	TTL      time.Duration

	service    *service
	name       string // namespace/service/id
	source     string // data of the event that holds the details
	registered int64  // when the epoch began, Unix nanoseconds
	changed    int64  // when the newest lifecycle event was recorded, Unix nanoseconds
}

// states are facts, too: by themselves they leave no gap in an Entry.
type states struct {
	status  code
	initial code // status at the registration or its last update
	traffic code
	updated bool // source is an InstanceUpdated's
}

// code is the place of a status or a traffic state in its list. The first is the most common one.
type code uint8

var (
	statuses = [...]domain.Status{domain.Passing, domain.Starting, domain.Warning, domain.Critical}
	traffics = [...]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}
)

func statusCode[S ~string | ~[]byte](name S) (code, bool) {
	for i, s := range statuses {
		if string(name) == string(s) {
			return code(i), true
		}
	}
	return 0, false
}

func trafficCode[S ~string | ~[]byte](name S) (code, bool) {
	for i, t := range traffics {
		if string(name) == string(t) {
			return code(i), true
		}
	}
	return 0, false
}

// Key names the instance.
func (e *Entry) Key() domain.Key {
	return domain.Key{Namespace: e.service.key.Namespace, Service: e.service.key.Service, ID: e.ID()}
}

// HeartbeatStream is the event store's number of the stream of the instance's heartbeats, 0 where it is not
// known. It is no fact of the instance: it spares the store to look for the stream of each heartbeat.
func (e *Entry) HeartbeatStream() uint32 { return atomic.LoadUint32(&e.heartbeats) }

// SetHeartbeatStream notes the number that the event store told.
func (e *Entry) SetHeartbeatStream(number uint32) { atomic.StoreUint32(&e.heartbeats, number) }

// is says whether the entry is that instance's.
func (e *Entry) is(key domain.Key) bool {
	service := len(key.Namespace) + 1
	id := service + len(key.Service) + 1
	name := e.name
	return len(name) == id+len(key.ID) && name[id-1] == '/' && name[id:] == key.ID &&
		name[service-1] == '/' && name[service:id-1] == key.Service && name[:service-1] == key.Namespace
}

// Service is the service that the instance belongs to.
func (e *Entry) Service() domain.ServiceKey { return e.service.key }

// ID is the instance's id within its service.
func (e *Entry) ID() string {
	return e.name[len(e.service.key.Namespace)+len(e.service.key.Service)+2:]
}

// Status is the instance's health.
func (e *Entry) Status() domain.Status { return statuses[e.status] }

// Traffic is whether the instance wants traffic.
func (e *Entry) Traffic() domain.Traffic { return traffics[e.traffic] }

// RegisteredAt is when the epoch began.
func (e *Entry) RegisteredAt() time.Time { return time.Unix(0, e.registered).UTC() }

// ChangedAt is when the newest lifecycle event was recorded.
func (e *Entry) ChangedAt() time.Time { return time.Unix(0, e.changed).UTC() }

// Revision is the revision of the instance's lifecycle stream.
func (e *Entry) Revision() uint64 { return e.Events - 1 }

// Ready says whether the instance may get traffic.
func (e *Entry) Ready() bool {
	return e.Traffic() == domain.Serving && (e.Status() == domain.Passing || e.Status() == domain.Warning)
}

// Details is what the instance said of itself, as last registered. Of an event that another program
// wrote, and that looked like ours but is not, only what was read of it is known.
func (e *Entry) Details() domain.Details {
	eventType := domain.TypeInstanceRegistered
	if e.updated {
		eventType = domain.TypeInstanceUpdated
	}
	event, err := domain.DecodeEvent(eventType, []byte(e.source))
	if err != nil {
		return domain.Details{Status: statuses[e.initial], TTL: domain.Duration(e.TTL)}
	}
	if updated, ok := event.(domain.InstanceUpdated); ok {
		return updated.Details
	}
	return event.(domain.InstanceRegistered).Details
}

// Instance is the state that commands are decided on.
func (e *Entry) Instance() domain.Instance {
	return domain.Instance{
		Key: e.Key(), Phase: domain.Registered, Epoch: e.Epoch, Events: e.Events,
		Status: e.Status(), Traffic: e.Traffic(), Details: e.Details(),
	}
}

// next is the entry after an event, nil when the event takes the instance out. before is nil when
// the instance is not in the catalog. data is the event's, in its present form.
func next(before *Entry, s *service, name string, event *eventstore.RecordedEvent, data []byte) (*Entry, error) {
	var e Entry
	if before != nil {
		e.facts, e.states, e.heartbeats = before.facts, before.states, before.HeartbeatStream()
	} else {
		e.service = s
	}
	e.Events = uint64(event.Revision) + 1
	e.changed, e.Position = event.RecordedAt.UnixNano(), event.Position
	switch event.Type {
	case domain.TypeInstanceRegistered:
		r, err := readRegistration(event.Type, data)
		if err != nil {
			return before, err
		}
		e.registered, e.Epoch, e.traffic = e.changed, r.epoch, 0
		e.status, e.initial, e.TTL = r.status, r.status, r.ttl
		e.updated = false
		keep(&e, name, data)
		return &e, nil
	case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		return nil, nil
	}
	if before == nil {
		return nil, fmt.Errorf("%s of %s, which is not registered", event.Type, name)
	}
	if event.Type == domain.TypeInstanceUpdated {
		r, err := readRegistration(event.Type, data)
		if err != nil {
			return before, err
		}
		if r.status != e.initial {
			e.status = r.status
		}
		e.initial, e.TTL = r.status, r.ttl
		e.updated = true
		keep(&e, name, data)
		return &e, nil
	}
	if to, ok := scanChange(data); ok {
		if event.Type == domain.TypeHealthChanged {
			if e.status, ok = statusCode(to); ok {
				return &e, nil
			}
		} else if event.Type == domain.TypeTrafficChanged {
			if e.traffic, ok = trafficCode(to); ok {
				return &e, nil
			}
		}
	}
	change, err := domain.DecodeEvent(event.Type, data)
	if err != nil {
		return before, err
	}
	known := true
	switch c := change.(type) {
	case domain.HealthChanged:
		e.status, known = statusCode(c.To)
	case domain.TrafficChanged:
		e.traffic, known = trafficCode(c.To)
	}
	if !known {
		return before, errUnknownState
	}
	return &e, nil
}

// errUnknownState says that another program wrote a status or traffic state that there is not.
var errUnknownState = errors.New("unknown status or traffic state")

// keep gives the entry a name and a source of its own, in one piece of memory.
func keep[S ~string | ~[]byte](e *Entry, name S, source []byte) {
	b := append(append(make([]byte, 0, len(name)+len(source)), name...), source...)
	text := unsafe.String(unsafe.SliceData(b), len(b)) // b is nobody else's
	e.name, e.source = text[:len(name)], text[len(name):]
}

// registration is what the catalog must know of an event with details.
type registration struct {
	epoch  uint64
	status code
	ttl    time.Duration
}

// readRegistration takes the three fields from where Rollcall writes them, at the event's ends, and
// decodes the event only when they are not there.
func readRegistration(eventType string, data []byte) (r registration, err error) {
	if scan(data, &r) {
		return r, nil
	}
	decoded, err := domain.DecodeEvent(eventType, data)
	if err != nil {
		return r, err
	}
	var details domain.Details
	switch e := decoded.(type) {
	case domain.InstanceRegistered:
		r.epoch, details = e.Epoch, e.Details
	case domain.InstanceUpdated:
		r.epoch, details = e.Epoch, e.Details
	}
	status, ok := statusCode(details.Status)
	if !ok {
		return r, errUnknownState
	}
	r.status, r.ttl = status, time.Duration(details.TTL)
	return r, nil
}

var (
	epochField  = []byte(`{"epoch":`)
	statusField = []byte(`,"status":"`)
	ttlField    = []byte(`","ttl":"`)
)

// scan reads {"epoch":1, … ,"status":"passing","ttl":"30s"}. An unescaped quote can stand only at
// the ends of a JSON string, so what looks like these fields is these fields.
func scan(data []byte, r *registration) bool {
	rest, ok := bytes.CutPrefix(data, epochField)
	if !ok {
		return false
	}
	digits := bytes.IndexByte(rest, ',')
	rest, ok = bytes.CutSuffix(rest, []byte(`"}`))
	ttl := bytes.LastIndex(rest, ttlField)
	if digits < 0 || !ok || ttl < 0 {
		return false
	}
	status := bytes.LastIndex(rest[:ttl], statusField)
	if status < 0 {
		return false
	}
	var err1, err2 error
	r.epoch, err1 = strconv.ParseUint(string(rest[:digits]), 10, 64)
	r.ttl, err2 = parseTTL(string(rest[ttl+len(ttlField):]))
	r.status, ok = statusCode(rest[status+len(statusField) : ttl])
	return ok && err1 == nil && err2 == nil
}

var (
	fromField = []byte(`,"from":"`)
	toField   = []byte(`","to":"`)
)

// scanChange reads "to" of {"epoch":1,"from":"passing","to":"warning", … as Rollcall writes it.
func scanChange(data []byte) (to []byte, ok bool) {
	rest, ok := bytes.CutPrefix(data, epochField)
	if !ok {
		return nil, false
	}
	rest, ok = bytes.CutPrefix(skipDigits(rest), fromField)
	quote := bytes.IndexByte(rest, '"')
	if !ok || quote < 0 {
		return nil, false
	}
	if rest, ok = bytes.CutPrefix(rest[quote:], toField); !ok {
		return nil, false
	}
	if quote = bytes.IndexByte(rest, '"'); quote < 0 {
		return nil, false
	}
	return rest[:quote], true
}

func skipDigits(b []byte) []byte {
	for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		b = b[1:]
	}
	return b
}

func parseTTL(s string) (time.Duration, error) {
	if s == "30s" { // nearly all of them
		return 30 * time.Second, nil
	}
	return time.ParseDuration(s)
}

// byID orders entries within a service.
func byID(a, b *Entry) int { return strings.Compare(a.name, b.name) }
