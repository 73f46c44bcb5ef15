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

// lastHeard is what an expiry is judged on.
type lastHeard struct {
	at     time.Time // of the newest heartbeat, registration or update of the epoch; zero: it is not known
	events uint64    // of the heartbeat stream
}

// heartbeatsRead is how many of a stream's newest heartbeats are looked through for one of the epoch.
const heartbeatsRead = 16

// lastHeard is what the table knows of a lease, or, if nothing came since this process started, what the streams say.
// The error is for a store that cannot be asked. A heartbeat that is damaged or gone makes the time unknown.
func (x *Expiry) lastHeard(ctx context.Context, l leases.Lease, entry *catalog.Entry) (lastHeard, error) {
	if l.HeartbeatEvents > 0 && !l.LastHeard.IsZero() {
		return lastHeard{l.LastHeard, l.HeartbeatEvents}, nil
	}
	var heard lastHeard
	known := true
	opts := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: heartbeatsRead}
	for e, err := range x.Service.store.ReadStream(ctx, eventstore.HeartbeatStream(l.Key), opts) {
		if err != nil {
			if away(err) {
				return lastHeard{}, err
			}
			x.Logger.Error("the last heartbeat cannot be read", "instance", l.Key, "cause", err)
			known = false
			break
		}
		heard.events = max(heard.events, uint64(e.Revision)+1)
		if event, err := eventstore.Decode(&e); err == nil && event == (domain.HeartbeatReceived{Epoch: l.Epoch}) {
			heard.at = e.RecordedAt
			break
		}
	}
	heard.events = max(heard.events, l.HeartbeatEvents)
	if unread := x.unread[l.Key]; unread > heard.events { // there were more, and none of them came since the start
		heard.events, known = unread, false
	}
	registered, err := x.registered(ctx, l, entry)
	switch {
	case err != nil && away(err):
		return lastHeard{}, err
	case !known || err != nil:
		heard.at = time.Time{}
	case registered.After(heard.at):
		heard.at = registered
	}
	return heard, nil
}

// registered is when the instance's registration or its last update was recorded, whichever is newer.
func (x *Expiry) registered(ctx context.Context, l leases.Lease, entry *catalog.Entry) (time.Time, error) {
	if !l.LastHeard.IsZero() {
		return l.LastHeard, nil
	}
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true}
	for e, err := range x.Service.store.ReadStream(ctx, eventstore.LifecycleStream(l.Key), newest) {
		if err != nil {
			return time.Time{}, err
		}
		if e.Type == domain.TypeInstanceRegistered || e.Type == domain.TypeInstanceUpdated {
			return e.RecordedAt, nil
		}
	}
	return entry.RegisteredAt(), nil
}

// noteUnread remembers how many events a heartbeat stream has. The next look waits for the projections first, so
// what the lease is not renewed by then was not heard since this process started.
func (x *Expiry) noteUnread(key domain.Key, events uint64) {
	if x.unread == nil || len(x.unread) > 10*maxExpire {
		x.unread = make(map[domain.Key]uint64)
	}
	x.unread[key] = events
}

// away says whether the error is the store's as a whole, not that of one event.
func away(err error) bool {
	for _, target := range []error{eventstore.ErrUnavailable, eventstore.ErrAccessDenied, eventstore.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
