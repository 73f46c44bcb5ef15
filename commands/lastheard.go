package commands

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// lastHeard is the newest sign of life of an instance. An expiry is decided on it.
type lastHeard struct {
	at          time.Time // time of the newest heartbeat, registration or update of the epoch; zero: not known
	byHeartbeat bool      // at is the time of a heartbeat; for a check: of a report
	events      uint64    // number of events of the heartbeat stream
}

// said is the sign of life as events tell it: a registration is no heartbeat.
func (h lastHeard) said() domain.LastHeard {
	if h.byHeartbeat {
		return domain.LastHeard{LastHeartbeat: h.at}
	}
	return domain.LastHeard{LastRegistered: h.at}
}

// heartbeatsRead is how many of a stream's newest heartbeats are read to find the newest heartbeat of the epoch.
const heartbeatsRead = 16

// lastHeard gives the newest sign of life from the table of leases. The table knows none if no heartbeat came since
// this process started: then lastHeard reads the instance's streams. A heartbeat that is damaged or removed, or that is older than
// the heartbeats that are read, makes the time unknown. An error means that the store cannot be read now.
func (x *Expiry) lastHeard(ctx context.Context, l leases.Lease, entry *catalog.Entry) (lastHeard, error) {
	if l.HeartbeatEvents > 0 && !l.LastHeard.IsZero() {
		return lastHeard{l.LastHeard, l.ByHeartbeat, l.HeartbeatEvents}, nil
	}
	var heard lastHeard
	known, read, oldest := true, 0, time.Time{}
	opts := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: heartbeatsRead * (1 + len(entry.Checks()))}
	for e, err := range x.Service.store.ReadStream(ctx, eventstore.HeartbeatStream(l.Key), opts) {
		if err != nil {
			if unavailable(err) {
				return lastHeard{}, err
			}
			x.Logger.Error("the last heartbeat cannot be read", "instance", l.Key, "cause", err)
			known = false
			break
		}
		heard.events = max(heard.events, uint64(e.Revision)+1)
		read, oldest = read+1, e.RecordedAt
		if event, err := eventstore.Decode(&e); err == nil && event == (domain.HeartbeatReceived{Epoch: l.Epoch, Check: l.Check}) {
			heard.at, heard.byHeartbeat = e.RecordedAt, true
			break
		}
	}
	heard.events = max(heard.events, l.HeartbeatEvents)
	if unread := x.unread[l.Key]; unread > heard.events { // the stream has older events that cannot be read
		heard.events, known = unread, false
	}
	began, err := x.began(ctx, l, entry)
	more := read == opts.Limit && heard.at.IsZero() && oldest.After(began.at) // an older heartbeat that was not read may be the newest of the lease
	switch {
	case err != nil && unavailable(err):
		return lastHeard{}, err
	case !known || more || err != nil:
		heard.at = time.Time{}
	case began.at.After(heard.at):
		heard.at, heard.byHeartbeat = began.at, began.byHeartbeat
	}
	return heard, nil
}

// began gives the newest lifecycle event that renewed the lease: of an instance, the registration or the last update; of a
// check, the newest of its definition and of the report that gave it its status. A definition may leave the status as it was.
func (x *Expiry) began(ctx context.Context, l leases.Lease, entry *catalog.Entry) (lastHeard, error) {
	if !l.LastHeard.IsZero() {
		return lastHeard{at: l.LastHeard, byHeartbeat: l.ByHeartbeat}, nil
	}
	since := checkSince(entry, l.Check)
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true}
	for e, err := range x.Service.store.ReadStream(ctx, eventstore.LifecycleStream(l.Key), newest) {
		switch {
		case err != nil:
			return lastHeard{}, err
		case l.Check == "" && (e.Type == domain.TypeInstanceRegistered || e.Type == domain.TypeInstanceUpdated):
			return lastHeard{at: e.RecordedAt}, nil
		case l.Check != "" && uint64(e.Revision) == l.Revision:
			return lastHeard{at: e.RecordedAt}, nil
		case l.Check != "" && e.RecordedAt.Before(since):
			return lastHeard{at: since}, nil
		case l.Check != "" && reports(&e, l.Epoch, l.Check):
			return lastHeard{at: since, byHeartbeat: true}, nil
		}
	}
	if l.Check != "" {
		return lastHeard{at: since}, nil
	}
	return lastHeard{at: entry.RegisteredAt()}, nil
}

// checkSince is when the event was recorded that gave a check its status.
func checkSince(entry *catalog.Entry, id string) time.Time {
	for _, c := range entry.Checks() {
		if c.ID == id {
			return c.Since
		}
	}
	return time.Time{}
}

// reports says whether an event is a report that changed the status of a check in an epoch.
func reports(e *eventstore.RecordedEvent, epoch uint64, check string) bool {
	if e.Type != domain.TypeCheckChanged {
		return false
	}
	event, err := eventstore.Decode(e)
	changed, ok := event.(domain.CheckChanged)
	return err == nil && ok && changed.Epoch == epoch && changed.Check == check && changed.Cause == domain.CheckReported
}

// noteUnread keeps the number of events of a heartbeat stream for the next look. The next look waits for the
// projections first. If the lease is not renewed then, none of these events came since this process started.
func (x *Expiry) noteUnread(key domain.Key, events uint64) {
	if x.unread == nil || len(x.unread) > 10*maxExpire {
		x.unread = make(map[domain.Key]uint64)
	}
	x.unread[key] = events
}

// unavailable says whether the error means that the store cannot be read at all. Other errors concern one event.
func unavailable(err error) bool {
	for _, target := range []error{eventstore.ErrUnavailable, eventstore.ErrAccessDenied, eventstore.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
