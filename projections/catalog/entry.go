package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Entry is a live instance at a moment. It is immutable: a change makes a new one.
//
// What the instance said of itself is kept as the event's bytes and decoded when asked for: that
// is a third of the memory, and a rebuild need not decode it at all.
type Entry struct {
	Key          domain.Key
	Epoch        uint64
	Events       uint64 // lifecycle events so far; the revision is one less
	Status       domain.Status
	Traffic      domain.Traffic
	TTL          time.Duration
	RegisteredAt time.Time // when the epoch began
	ChangedAt    time.Time // when the newest lifecycle event was recorded
	Position     eventstore.Position

	initial domain.Status // at the registration or its last update
	source  []byte        // data of the event that holds the details
	updated bool          // that event is an InstanceUpdated
}

// Revision is the revision of the instance's lifecycle stream.
func (e *Entry) Revision() uint64 { return e.Events - 1 }

// Ready says whether the instance may get traffic.
func (e *Entry) Ready() bool {
	return e.Traffic == domain.Serving && (e.Status == domain.Passing || e.Status == domain.Warning)
}

// Details is what the instance said of itself, as last registered. Of an event that another program
// wrote, and that looked like ours but is not, only what was read of it is known.
func (e *Entry) Details() domain.Details {
	eventType := domain.TypeInstanceRegistered
	if e.updated {
		eventType = domain.TypeInstanceUpdated
	}
	event, err := domain.DecodeEvent(eventType, e.source)
	if err != nil {
		return domain.Details{Status: e.initial, TTL: domain.Duration(e.TTL)}
	}
	if updated, ok := event.(domain.InstanceUpdated); ok {
		return updated.Details
	}
	return event.(domain.InstanceRegistered).Details
}

// Instance is the state that commands are decided on.
func (e *Entry) Instance() domain.Instance {
	return domain.Instance{
		Key: e.Key, Phase: domain.Registered, Epoch: e.Epoch, Events: e.Events,
		Status: e.Status, Traffic: e.Traffic, Details: e.Details(),
	}
}

// next is the entry after an event, nil when the event takes the instance out. before is nil when
// the instance is not in the catalog.
func next(before *Entry, key domain.Key, event *eventstore.RecordedEvent) (*Entry, error) {
	var e Entry
	if before != nil {
		e = *before
	} else {
		e.Key = key
	}
	e.Events = uint64(event.Revision) + 1
	e.ChangedAt, e.Position = event.RecordedAt, event.Position
	switch event.Type {
	case domain.TypeInstanceRegistered:
		r, err := readRegistration(event)
		if err != nil {
			return before, err
		}
		e.RegisteredAt, e.Epoch, e.Traffic = event.RecordedAt, r.epoch, domain.Serving
		e.Status, e.initial, e.TTL = r.status, r.status, r.ttl
		e.source, e.updated = slices.Clone(event.Data), false
		return &e, nil
	case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		return nil, nil
	}
	if before == nil {
		return nil, fmt.Errorf("%s of %s, which is not registered", event.Type, key)
	}
	if event.Type == domain.TypeInstanceUpdated {
		r, err := readRegistration(event)
		if err != nil {
			return before, err
		}
		if r.status != e.initial {
			e.Status = r.status
		}
		e.initial, e.TTL = r.status, r.ttl
		e.source, e.updated = slices.Clone(event.Data), true
		return &e, nil
	}
	if to, ok := scanChange(event.Data); ok {
		if event.Type == domain.TypeHealthChanged {
			if status, ok := knownStatus(to); ok {
				e.Status = status
				return &e, nil
			}
		} else if event.Type == domain.TypeTrafficChanged {
			if traffic, ok := knownTraffic(to); ok {
				e.Traffic = traffic
				return &e, nil
			}
		}
	}
	change, err := domain.DecodeEvent(event.Type, event.Data)
	if err != nil {
		return before, err
	}
	switch c := change.(type) {
	case domain.HealthChanged:
		e.Status = c.To
	case domain.TrafficChanged:
		e.Traffic = c.To
	}
	return &e, nil
}

// registration is what the catalog must know of an event with details.
type registration struct {
	epoch  uint64
	status domain.Status
	ttl    time.Duration
}

// readRegistration takes the three fields from where Rollcall writes them, at the event's ends, and
// decodes the event only when they are not there.
func readRegistration(event *eventstore.RecordedEvent) (r registration, err error) {
	if scan(event.Data, &r) {
		return r, nil
	}
	decoded, err := domain.DecodeEvent(event.Type, event.Data)
	switch e := decoded.(type) {
	case domain.InstanceRegistered:
		r = registration{e.Epoch, e.Status, time.Duration(e.TTL)}
	case domain.InstanceUpdated:
		r = registration{e.Epoch, e.Status, time.Duration(e.TTL)}
	}
	return r, err
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
	r.status, ok = knownStatus(rest[status+len(statusField) : ttl])
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
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, "0123456789"), fromField)
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

func parseTTL(s string) (time.Duration, error) {
	if s == "30s" { // nearly all of them
		return 30 * time.Second, nil
	}
	return time.ParseDuration(s)
}

func knownStatus(b []byte) (domain.Status, bool) {
	for _, s := range []domain.Status{domain.Passing, domain.Starting, domain.Warning, domain.Critical} {
		if string(b) == string(s) {
			return s, true
		}
	}
	return "", false
}

func knownTraffic(b []byte) (domain.Traffic, bool) {
	for _, t := range []domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance} {
		if string(b) == string(t) {
			return t, true
		}
	}
	return "", false
}

// byID orders entries within a service.
func byID(a, b *Entry) int { return strings.Compare(a.Key.ID, b.Key.ID) }
