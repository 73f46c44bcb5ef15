package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Pauses between two attempts to reach a registry that does not answer.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// FollowQuery says what to follow: a service, some services, or without Service and Services all services.
type FollowQuery struct {
	InstanceFilter
	Service     domain.ServiceKey
	Services    []domain.ServiceKey // at most 2,000; one stream tells of them all
	Namespace   string              // without Service and Services: of this namespace; "": of every namespace
	LastEventID string              // ID of the last update that is known; "": begin with a snapshot
	// KeepTrying lets the client try again when the first connection fails. Without KeepTrying such a failure ends the
	// sequence.
	KeepTrying bool
	// Lost is called with the cause when a connection is lost, before the client tries again; nil: no call.
	Lost func(error)
	// Heard is called whenever bytes of the stream came, keep-alives too; nil: no call. It must not block.
	Heard func()
	// Current is called when a stream that goes on after an update is up and the registry has nothing to tell: what the caller has is
	// current again, though no update comes. nil: no call. It must not block.
	Current func()
}

func (c *Client) followRequest(q FollowQuery) (path string, query url.Values, err error) {
	switch {
	case len(q.Services) > 0:
		path, query = "/v1/streams/catalog", url.Values{}
		for _, s := range q.Services {
			if _, _, err = c.service(s); err != nil {
				return path, query, err
			}
			query.Add("service", cmp.Or(s.Namespace, c.options.Namespace)+"/"+s.Service)
		}
	case q.Service == (domain.ServiceKey{}):
		path, query = "/v1/streams/catalog", url.Values{}
		set(query, "ns", q.Namespace)
	default:
		_, query, err = c.service(q.Service)
		path = "/v1/streams/services/" + url.PathEscape(q.Service.Service)
	}
	q.InstanceFilter.set(query)
	return path, query, err
}

// Update is one event of a stream of the catalog.
type Update struct {
	ID   string // the LastEventID with which a stream goes on after this update
	Kind string // wire.StreamSnapshot, StreamReset, StreamChange, StreamPanic or StreamCut
	// Instances are all instances, in a snapshot or reset.
	Instances []wire.Instance
	Change    *wire.Change // in a change
	// Panics are the services that panic, in a panic, snapshot or reset: all of those that are followed.
	Panics []wire.ServicePanic
	Reason string // in a cut: why the stream ends. Follow resumes the stream
	Raw    string // the JSON as the registry sent it
}

// Apply applies the update to a copy of the instances.
func (u *Update) Apply(instances map[domain.Key]wire.Instance) {
	switch u.Kind {
	case wire.StreamSnapshot, wire.StreamReset:
		clear(instances)
		for _, i := range u.Instances {
			instances[i.Key()] = i
		}
	case wire.StreamChange:
		key := domain.Key{Namespace: u.Change.Namespace, Service: u.Change.Service, ID: u.Change.ID}
		if u.Change.Op == wire.Put {
			instances[key] = *u.Change.Instance
		} else {
			delete(instances, key)
		}
	}
}

// Follow yields a snapshot and then every change, until the context ends. When the connection is lost, or brings no byte
// for too long, Follow connects again, with growing pauses, and goes on after the last update. An error ends the sequence:
// the registry refuses the stream, or the first connection failed.
func (c *Client) Follow(ctx context.Context, q FollowQuery) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		path, query, err := c.followRequest(q)
		if err != nil {
			yield(Update{}, err)
			return
		}
		connected, wait := q.KeepTrying, firstPause
		known := q.LastEventID != "" // the caller has a copy, so that a snapshot is a reset
		var from origin
		opened := func(a *answer) error { return from.opened(ctx, c, a, q.LastEventID != "") }
		for {
			began := time.Now()
			var lost error
			for m, err := range c.stream(ctx, path, query, q.LastEventID, streaming{opened: opened, heard: q.Heard, current: q.Current}) {
				if err != nil {
					lost = err
					break
				}
				u, err := readUpdate(m, known, q.LastEventID)
				if errors.Is(err, errLater) && known { // a registry begins with what this version knows
					continue
				}
				if err != nil {
					c.nodes.leave(c.URL())
					yield(Update{}, &NotRollcall{URL: c.URL(), Answer: "with a stream that cannot be read: " + err.Error()})
					return
				}
				connected, known = true, true
				q.LastEventID = u.ID
				if !yield(u, nil) {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			connected = connected || errors.As(lost, new(*Broken)) // the stream had begun
			switch {
			case isPositionRefused(lost) && q.LastEventID != "":
				q.LastEventID = "" // the registry does not know the position, e.g. after a restore: begin anew
				continue
			case isRefused(lost), !connected:
				yield(Update{}, lost)
				return
			}
			if q.Lost != nil {
				q.Lost(lost)
			}
			if errors.As(lost, new(*OtherRegistry)) {
				q.LastEventID = ""
				continue
			}
			if time.Since(began) > maxPause { // not after each update: a stream that ends after its snapshot would be asked for again and again
				wait = firstPause
			}
			pause(ctx, wait/2+rand.N(wait/2)) // random, so that clients of one registry do not connect again at once
			wait = min(2*wait, maxPause)
		}
	}
}

// isRefused says whether the registry would refuse another attempt, too.
func isRefused(err error) bool {
	var refused *wire.Problem
	if errors.As(err, &refused) {
		return refused.Status < http.StatusInternalServerError && refused.Status != http.StatusTooManyRequests
	}
	return false
}

func isPositionRefused(err error) bool {
	var refused *wire.Problem
	return errors.As(err, &refused) && (refused.Type == wire.OtherTimeline || refused.Status == http.StatusUnprocessableEntity && refused.Field == "Last-Event-ID")
}

// readUpdate reads a message. last is the ID of the update before; "": there was none. What is not whole is an error: an empty
// object must not pass for an empty catalog.
func readUpdate(m message, known bool, last string) (Update, error) {
	u := Update{ID: m.id, Kind: m.kind, Raw: string(m.data)}
	if err := inOrder(m, last); err != nil {
		return u, err
	}
	switch m.kind {
	case wire.StreamSnapshot, wire.StreamReset:
		var all struct {
			wire.InstanceList
			Services []wire.ServiceInstances
		}
		if err := json.Unmarshal(m.data, &all); err != nil {
			return u, err
		}
		if all.Instances == nil && all.Services == nil {
			return u, errors.New("a snapshot lists neither instances nor services")
		}
		u.Instances = all.Instances
		if all.Panic != nil {
			u.Panics = append(u.Panics, wire.ServicePanic{Namespace: all.Namespace, Service: all.Service, Panic: *all.Panic})
		}
		for _, s := range all.Services {
			if s.Instances == nil {
				return u, errors.New("a snapshot has a service without a list of instances")
			}
			if s.Panic != nil {
				u.Panics = append(u.Panics, wire.ServicePanic{Namespace: s.Namespace, Service: s.Service, Panic: *s.Panic})
			}
			u.Instances = append(u.Instances, s.Instances...)
		}
		for i := range u.Instances {
			if err := named(u.Instances[i].Key()); err != nil {
				return u, err
			}
		}
		if known {
			u.Kind = wire.StreamReset
		}
		return u, nil
	case wire.StreamChange:
		if err := json.Unmarshal(m.data, &u.Change); err != nil {
			return u, err
		}
		return u, wholeChange(u.Change)
	case wire.StreamPanic:
		var all wire.Panics
		err := json.Unmarshal(m.data, &all)
		u.Panics = all.Services
		return u, err
	case wire.StreamCut:
		var why wire.Cut
		err := json.Unmarshal(m.data, &why)
		u.Reason = why.Reason
		return u, err
	}
	if m.kind == "" {
		return u, errors.New("it has a message without a kind")
	}
	return u, errLater
}

// errLater is readUpdate's error for a message of a kind that later registries send: it tells nothing of instances, and is passed over.
var errLater = errors.New("a message of an unknown kind")

// inOrder refuses a message whose id is no position, or the position of a change before the last update. The client names the id
// when it goes on, and applies changes in the order in which they come.
func inOrder(m message, last string) error {
	if m.id == "" {
		return nil // the stream begins anew after a break
	}
	at, err := wire.ParsePosition("id", m.id)
	if err != nil {
		return err
	}
	before, err := wire.ParsePosition("id", last)
	if m.kind == wire.StreamChange && err == nil && at.Timeline == before.Timeline && at.Number < before.Number {
		return fmt.Errorf("a change of position %s comes after position %s", at, before)
	}
	return nil
}

// wholeChange refuses a change that does not say what became of which instance.
func wholeChange(c *wire.Change) error {
	if c == nil {
		return errors.New("a change names no instance")
	}
	key := domain.Key{Namespace: c.Namespace, Service: c.Service, ID: c.ID}
	switch {
	case c.Op == wire.Put && (c.Instance == nil || c.Instance.Key() != key):
		return errors.New("a change has not the instance that it names")
	case c.Op != wire.Put && c.Op != wire.Delete:
		return fmt.Errorf("a change is of the unknown kind %q", c.Op)
	}
	return named(key)
}

func named(k domain.Key) error {
	if k.Namespace == "" || k.Service == "" || k.ID == "" {
		return errors.New("an instance has no whole name")
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
