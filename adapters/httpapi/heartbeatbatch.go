package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// encodeBatch encodes the reply to a batch of heartbeats into its buffer.
func (a *api) encodeBatch(b *batchBuffers, minimal bool) (newest eventstore.Position, err error) {
	b.reply, newest, err = a.appendBatch(b.reply[:0], minimal, b.refused, func(into []byte, i int) []byte { return appendKey(into, &b.keys[i]) }, b.results)
	return newest, err
}

// heartbeats renews many leases with one commit. The body is an array of "service/id" or "namespace/service/id", or of
// objects with the preconditions of each heartbeat.
func (a *api) heartbeats(c echo.Context) error {
	buffers := batchBuffersPool.Get().(*batchBuffers)
	defer batchBuffersPool.Put(buffers)
	var err error
	if buffers.body, err = readBodyInto(buffers.body, c, MaxBatchBody); err != nil {
		return err
	}
	if err := buffers.readItems(namespace(c)); err != nil {
		return err
	}
	if c.QueryParams().Has("owner") {
		owner := c.QueryParam("owner")
		if owner == "" {
			return invalidField("owner", "must not be empty")
		}
		buffers.setOwner(owner)
	}
	web.Charge(c, web.Heartbeats, max(len(buffers.refused)-1, 0)) // one is counted already
	buffers.keepAllowed(web.IdentityOf(c))
	buffers.results = a.Commands.Heartbeats(caller(c)).SendAll(c.Request().Context(), buffers.keys, buffers.preconditions, buffers.results[:0])
	if a.Limits != nil {
		web.Charge(c, web.Requests, unknownInstances(buffers.results))
	}
	newest, err := a.encodeBatch(buffers, web.Minimal(c))
	if err != nil {
		return err
	}
	a.setPosition(c, newest)
	return web.AnswerJSON(c, http.StatusOK, buffers.reply)
}

// unknownInstances counts the heartbeats of instances that are not registered: the generous limit is not for those.
func unknownInstances(results []commands.Result) (n int) {
	for _, r := range results {
		if errors.As(r.Err, new(domain.UnknownInstance)) {
			n++
		}
	}
	return n
}

// batchBuffers hold a batch of heartbeats from the request's body to the reply. A pool keeps them for later requests.
//
// INVARIANT: the handler owns the buffers from Get to Put. It puts them back after the reply is written. names and keys
// point into body, so no code may keep a name, a key or a result of a batch after the handler has returned: the next
// request overwrites the body. The catalog and the event store keep no key of a heartbeat; an error that names a key
// is encoded into the reply before Put.
type batchBuffers struct {
	body          []byte
	names         []string
	refused       []error                 // one for each item; nil: the item is not refused
	keys          []domain.Key            // of the items that are not refused
	preconditions []commands.Precondition // of the same items; empty if the body has names only
	results       []commands.Result
	reply         []byte
}

var batchBuffersPool = sync.Pool{New: func() any { return new(batchBuffers) }}

// readItems reads the items of the body. A wrong item is refused, and the other items are kept.
func (b *batchBuffers) readItems(ns string) (err error) {
	if b.readNames(ns) {
		return nil
	}
	b.names = nil
	if !bytes.HasPrefix(bytes.TrimLeft(b.body, jsonSpace), []byte{'['}) {
		var none []string
		return DecodeStrict(b.body, &none) // the body is no array: the error says what the body is
	}
	if !utf8.Valid(b.body) {
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", "the body is not valid UTF-8")
	}
	items, err := elements[heartbeatItem](b.body)
	for _, item := range items {
		key, precondition, err := readHeartbeat(ns, item)
		b.refused = append(b.refused, err)
		if err == nil {
			b.keys, b.preconditions = append(b.keys, key), append(b.preconditions, precondition)
		}
	}
	return err
}

// readNames reads the items of a body that is a plain list of names. A wrong name is refused. false: the body is another.
func (b *batchBuffers) readNames(ns string) (plain bool) {
	b.refused, b.keys, b.preconditions = b.refused[:0], b.keys[:0], b.preconditions[:0]
	if b.names, plain = plainStrings(b.names[:0], b.body); !plain {
		return false
	}
	b.refused, b.keys = slices.Grow(b.refused, len(b.names)), slices.Grow(b.keys, len(b.names))
	for _, name := range b.names {
		next := len(b.keys)
		b.keys = b.keys[:next+1]
		err := setHeartbeatKey(&b.keys[next], ns, name)
		if err != nil {
			b.keys = b.keys[:next]
		}
		b.refused = append(b.refused, err)
	}
	return true
}

// setOwner names the owner of the items that name none. A process names its owner once for all its instances.
func (b *batchBuffers) setOwner(owner string) {
	b.needPreconditions()
	for i := range b.preconditions {
		if b.preconditions[i].Owner == "" {
			b.preconditions[i].Owner = owner
		}
	}
}

// needPreconditions gives a body of names its preconditions, all without a condition.
func (b *batchBuffers) needPreconditions() {
	if len(b.preconditions) == 0 {
		b.preconditions = slices.Grow(b.preconditions, len(b.keys))[:len(b.keys)]
		clear(b.preconditions)
	}
}

// keepAllowed refuses the items that the caller may not renew, and binds those that the caller may renew only as its own.
func (b *batchBuffers) keepAllowed(who *web.Identity) {
	if !who.Controlled() {
		return
	}
	b.needPreconditions()
	item, kept := 0, 0 // the item of a key; keys that stay
	for i, key := range b.keys {
		for b.refused[item] != nil {
			item++
		}
		holder, err := who.Holder(domain.WriteInstances, key)
		if err == nil {
			b.keys[kept], b.preconditions[kept] = key, b.preconditions[i]
			b.preconditions[kept].Holder = holder
			kept++
		}
		b.refused[item] = err
		item++
	}
	b.keys, b.preconditions = b.keys[:kept], b.preconditions[:kept]
}

// heartbeatItem is the JSON of one item of a batch of heartbeats: a name, an object, or null. A body with an item of
// another kind is refused as a whole.
type heartbeatItem []byte

// UnmarshalJSON keeps the item's JSON.
func (i *heartbeatItem) UnmarshalJSON(b []byte) error {
	if b[0] != '"' && b[0] != '{' && b[0] != 'n' {
		return badHeartbeatItem
	}
	*i = slices.Clone(b)
	return nil
}

var badHeartbeatItem = invalidField("body", `must have items "service/id", "namespace/service/id" or objects with service and id`)

// readHeartbeat reads one item. ns is the namespace of an item that names none.
func readHeartbeat(ns string, item heartbeatItem) (key domain.Key, precondition commands.Precondition, err error) {
	if item[0] == '{' {
		var i struct {
			Namespace string `json:"namespace"` // default: the request's
			Service   string `json:"service"`
			ID        string `json:"id"`
			Epoch     uint64 `json:"epoch"`
			Owner     string `json:"owner"`
		}
		err = DecodeStrict(item, &i)
		if i.Namespace == "" {
			i.Namespace = ns
		}
		return domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}, commands.Precondition{Epoch: i.Epoch, Owner: i.Owner}, err
	}
	var name *string
	if json.Unmarshal(item, &name) != nil || name == nil {
		return key, precondition, badHeartbeatItem
	}
	err = setHeartbeatKey(&key, ns, *name)
	return key, precondition, err
}

// setHeartbeatKey reads "service/id" or "namespace/service/id" into a key, in place (ADR 149). The command checks the parts.
func setHeartbeatKey(key *domain.Key, ns, name string) (err error) {
	service, id, ok := strings.Cut(name, "/")
	if ok && strings.IndexByte(id, '/') < 0 {
		key.Namespace, key.Service, key.ID = ns, service, id
		return nil
	}
	*key, err = domain.ParseKey(name)
	return err
}
