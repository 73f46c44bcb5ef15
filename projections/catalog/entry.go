package catalog

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Entry is a live instance at a moment. It is immutable: a change makes a new one.
//
// The catalog has an entry for every instance, so an entry is small: 64 bytes. Names that instances share are pointers or numbers,
// times are numbers, and the registration is kept as the event's bytes, packed, and decoded when asked for (ADR 007, 084). What
// few instances have is elsewhere (rare.go).
type Entry struct {
	facts
	states
	heartbeats uint32 // see HeartbeatStream; atomic
}

type facts struct {
	Position eventstore.Position // of the newest lifecycle event

	changed int64 // when the newest lifecycle event was recorded, Unix nanoseconds
	service *service
	rare    *rare // nil: the instance has nothing of it

	// The id, and behind it the packed source, see keep. INVARIANT: the bytes at text never change.
	text         *byte
	packedLength uint32

	epoch, events, ttl uint32 // see numbers
}

// states are facts, too. They are a struct of their own so that an Entry has no padding before them.
type states struct {
	idLength uint16
	status   code
	marks    marks
}

// ownership is where the owner of an instance stands in its source.
type ownership uint8

const (
	noOwner    ownership = iota
	plainOwner           // right after the epoch, as Rollcall writes it, and without an escape
	otherOwner           // at another place: another program wrote the event
)

// marks has the traffic state of an instance in its lowest bits, its ownership in the next two, and flags.
type marks uint8

const (
	trafficBits          = 2
	ownedBits            = 2
	updated        marks = 1 << 4 // the source is an InstanceUpdated's
	largeNumbers   marks = 1 << 5 // the numbers are in rare
	mostLengthOfID       = 1<<16 - 1
)

func (m marks) traffic() code    { return code(m & (1<<trafficBits - 1)) }
func (m marks) owned() ownership { return ownership(m >> trafficBits & (1<<ownedBits - 1)) }

func (m *marks) setTraffic(to code) { *m = *m&^(1<<trafficBits-1) | marks(to) }
func (m *marks) setOwned(to ownership) {
	*m = *m&^((1<<ownedBits-1)<<trafficBits) | marks(to)<<trafficBits
}

// code is the place of a status or a traffic state in its list. The first is the most common one.
type code uint8

var (
	statuses = [...]domain.Status{domain.Passing, domain.Starting, domain.Warning, domain.Critical}
	traffics = [...]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}
)

const maintenance code = 2 // in traffics

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
// known. With the number, the store need not look the stream up for each heartbeat.
func (e *Entry) HeartbeatStream() uint32 { return atomic.LoadUint32(&e.heartbeats) }

// SetHeartbeatStream notes the number that the event store gave. Any goroutine may call it.
func (e *Entry) SetHeartbeatStream(number uint32) { atomic.StoreUint32(&e.heartbeats, number) }

// Is says whether the entry is the entry of that instance.
func (e *Entry) Is(key domain.Key) bool { return e.is(&key) }

func (e *Entry) is(key *domain.Key) bool {
	return e.ID() == key.ID && e.service.key.Service == key.Service && e.service.key.Namespace == key.Namespace
}

// Size is how many bytes the instance's key and details take, as events have them.
func (e *Entry) Size() int {
	key := e.Key()
	return len(key.Namespace) + len(key.Service) + len(key.ID) + unpackedLength(e.packed())
}

// Service is the service that the instance belongs to.
func (e *Entry) Service() domain.ServiceKey { return e.service.key }

// ID is the instance's id within its service.
func (e *Entry) ID() string { return unsafe.String(e.text, e.idLength) }

// packed is the packed source: the data of the event that holds the details. Of an instance whose checks changed since, the
// source has the present checks.
func (e *Entry) packed() string {
	return e.whole()[e.idLength:]
}

// whole is the id and behind it the packed source.
func (e *Entry) whole() string { return unsafe.String(e.text, uint32(e.idLength)+e.packedLength) }

// source is the data of the event that holds the details.
func (e *Entry) source() []byte {
	packed := e.packed()
	return appendUnpacked(make([]byte, 0, unpackedLength(packed)), packed)
}

// Status is the instance's health.
func (e *Entry) Status() domain.Status { return statuses[e.status] }

// Traffic is whether the instance wants traffic.
func (e *Entry) Traffic() domain.Traffic { return traffics[e.marks.traffic()] }

// ChangedAt is when the newest lifecycle event was recorded.
func (e *Entry) ChangedAt() time.Time { return time.Unix(0, e.changed).UTC() }

// Revision is the revision of the instance's lifecycle stream.
func (e *Entry) Revision() uint64 { return e.Events() - 1 }

// Ready says whether the instance may get traffic.
func (e *Entry) Ready() bool {
	return e.Traffic() == domain.Serving && (e.Status() == domain.Passing || e.Status() == domain.Warning)
}

// Owner is the owner that the registration named; "": it named none.
func (e *Entry) Owner() string {
	switch e.marks.owned() {
	case noOwner:
		return ""
	case plainOwner:
		return plainOwnerOf(e.packed())
	}
	switch event := e.event().(type) {
	case domain.InstanceRegistered:
		return event.Owner
	case domain.InstanceUpdated:
		return event.Owner
	}
	return ""
}

// Details are the details of the newest registration or update, with the checks that the instance has now.
func (e *Entry) Details() domain.Details {
	switch event := e.event().(type) {
	case domain.InstanceRegistered:
		return event.Details
	case domain.InstanceUpdated:
		return event.Details
	}
	return domain.Details{} // the source cannot be decoded; a test holds that the catalog keeps no such source
}

// MayHold says whether a text may be a value or a key of the details; false: it is none of them, and the details need not
// be decoded to know.
//
// INVARIANT: JSON without a backslash has each of its strings as they are, between quotes. Only a text with a byte that
// JSON escapes, or that stands for bytes that are not UTF-8, can be there in another form.
func (e *Entry) MayHold(text string) bool {
	packed := e.packed()
	if text == "" || strings.Contains(packed, `\`) || strings.ContainsRune(text, utf8.RuneError) {
		return true
	}
	var buffer [512]byte
	return mayHold(packed, text) && bytes.Contains(appendUnpacked(buffer[:0], packed), []byte(`"`+text+`"`))
}

// event is the decoded source; nil: it cannot be decoded.
func (e *Entry) event() domain.Event {
	eventType := domain.TypeInstanceRegistered
	if e.marks&updated != 0 {
		eventType = domain.TypeInstanceUpdated
	}
	event, err := domain.DecodeEvent(eventType, e.source())
	if err != nil {
		return nil
	}
	return event
}

// Instance is the state that commands are decided on.
func (e *Entry) Instance() domain.Instance {
	i := e.Brief()
	i.Details = e.Details()
	return i
}

// passedOver is the entry after an event that cannot be read. Only the revision changes.
func (e *Entry) passedOver(event *eventstore.RecordedEvent) *Entry {
	after := &Entry{facts: e.facts, states: e.states, heartbeats: e.HeartbeatStream()}
	n := e.numbers()
	n.events = uint64(event.Revision) + 1
	after.setRare(n, e.beginning(), e.Maintenance(), e.health())
	return after
}

// next is the entry after an event; nil when the event ends the instance. before is nil when the instance is not in the
// catalog. data is the event's data in its present schema.
//
// INVARIANT: next gives the same state as domain.Evolve. It only decodes less.
func next(before *Entry, s *service, key domain.Key, event *eventstore.RecordedEvent, data []byte) (*Entry, error) {
	switch event.Type {
	case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		return nil, readEnd(event.Type, data)
	}
	if before == nil && event.Type != domain.TypeInstanceRegistered {
		if event.Type == domain.TypeTrafficChanged { // an operator may end the maintenance of an instance that has ended
			_, _, err := readTraffic(data)
			return nil, err
		}
		return nil, fmt.Errorf("%s of %s, which is not registered", event.Type, key)
	}
	e := new(Entry)
	var n numbers
	var began beginning
	var decision *domain.InMaintenance
	var checked *health
	if before != nil {
		e.facts, e.states, e.heartbeats = before.facts, before.states, before.HeartbeatStream()
		n, began, decision, checked = before.numbers(), before.beginning(), before.Maintenance(), before.health()
	} else {
		e.service = s
	}
	n.events = uint64(event.Revision) + 1
	e.changed, e.Position = event.RecordedAt.UnixNano(), event.Position
	evolve := func(state domain.Instance, changed domain.Event) domain.Instance {
		state.Events = uint64(event.Revision)
		after := domain.Evolve(state, changed, eventstore.RecordOf(event))
		e.status, _ = statusCode(after.Status)
		checked = healthOf(&after)
		return after
	}
	switch event.Type {
	case domain.TypeInstanceRegistered:
		r, err := readRegistration(event.Type, data)
		if err != nil {
			return nil, err
		}
		began = beginning{e.Position, e.changed}
		n.epoch, n.ttl, decision, checked = r.epoch, r.ttl, r.maintenance, nil
		e.states = states{status: r.status}
		e.marks.setOwned(r.owned)
		if decision != nil {
			e.marks.setTraffic(maintenance)
		}
		if r.decoded != nil {
			evolve(domain.Instance{}, r.decoded)
		}
		keep(e, key.ID, data)
	case domain.TypeInstanceUpdated:
		r, err := readRegistration(event.Type, data)
		if err != nil {
			return nil, err
		}
		if r.setsStatus {
			e.status = r.status
		}
		n.ttl = r.ttl
		e.marks |= updated
		e.marks.setOwned(r.owned)
		if checked != nil || r.decoded != nil {
			if r.decoded == nil {
				if r.decoded, err = domain.DecodeEvent(event.Type, data); err != nil {
					return nil, err
				}
			}
			evolve(before.Instance(), r.decoded)
		}
		keep(e, key.ID, data)
	case domain.TypeHealthChanged:
		to, plain, err := readHealth(data)
		if err != nil {
			return nil, err
		}
		if plain && checked == nil {
			e.status = to
			break
		}
		changed, err := domain.DecodeEvent(event.Type, data)
		if err != nil {
			return nil, err
		}
		evolve(before.Brief(), changed)
	case domain.TypeCheckChanged:
		changed, err := domain.DecodeEvent(event.Type, data)
		if err != nil {
			return nil, err
		}
		evolve(before.Brief(), changed)
	case domain.TypeCheckAdded, domain.TypeCheckRemoved:
		changed, err := domain.DecodeEvent(event.Type, data)
		if err != nil {
			return nil, err
		}
		e.redefined(before, evolve(before.Instance(), changed).Details)
	case domain.TypeTrafficChanged:
		to, reason, err := readTraffic(data)
		if err != nil {
			return nil, err
		}
		e.marks.setTraffic(to)
		decision = nil
		if to == maintenance {
			r := eventstore.RecordOf(event)
			decision = &domain.InMaintenance{By: r.Actor, At: r.At, Reason: reason}
		}
	default:
		if _, err := domain.DecodeEvent(event.Type, data); err != nil {
			return nil, err
		}
	}
	e.setRare(n, began, decision, checked)
	return e, nil
}

// keep copies the id, and the source in its packed form, into one piece of memory.
func keep[S ~string | ~[]byte](e *Entry, id S, source []byte) {
	var buffer [512]byte // nearly every text fits, and has one allocation of its own
	b := appendPacked(append(buffer[:0], id...), source)
	e.setText(bytes.Clone(b), len(id))
}

// setText gives the entry its text: an id of a length, and behind it the packed source. REQUIRES: nobody changes the text, and the id is not
// longer than mostLengthOfID.
func (e *Entry) setText(text []byte, id int) {
	e.text, e.idLength, e.packedLength = unsafe.SliceData(text), uint16(id), uint32(len(text)-id)
}

// byID orders entries within a service.
func byID(a, b *Entry) int { return strings.Compare(a.ID(), b.ID()) }
