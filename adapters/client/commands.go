package client

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// CommandOption is a precondition of a command.
type CommandOption func(*preconditions)

// preconditions must hold for a command to be carried out.
type preconditions struct {
	epoch    uint64  // 0: any
	owner    string  // "": any
	revision *uint64 // nil: any
	create   bool    // no instance may be live
	force    bool    // also where a policy refuses
	once     string  // key, a UUID; "": the client makes one where the registry has several nodes
}

// OfEpoch lets the registry carry out a command only if the instance is in this epoch; 0: in any epoch. A late command
// of an earlier epoch then never reaches the successor.
func OfEpoch(epoch uint64) CommandOption { return func(c *preconditions) { c.epoch = epoch } }

// OfOwner lets the registry carry out a command only if the instance has this owner; "": any owner. For a registration,
// OfOwner names the instance's owner: the registration replaces a live instance of another owner, in the next epoch.
func OfOwner(owner string) CommandOption { return func(c *preconditions) { c.owner = owner } }

// CreateOnly lets the registry carry out a registration only if no instance is live.
func CreateOnly() CommandOption { return func(c *preconditions) { c.create = true } }

// AtRevision lets the registry carry out a command only if the instance has this revision.
func AtRevision(revision uint64) CommandOption {
	return func(c *preconditions) { c.revision = &revision }
}

// Forced lets the registry drain or deregister an instance also where a policy refuses that. The command needs a reason.
func Forced() CommandOption { return func(c *preconditions) { c.force = true } }

// Once gives a command a key, a UUID. A command that is sent again with its key, because its outcome is unknown, is carried out once,
// and gets the answer that it would have got. Without Once the client makes a key for each command to a registry of
// several nodes, and sends the command again by itself.
func Once(key uuid.UUID) CommandOption { return func(c *preconditions) { c.once = key.String() } }

func preconditionsOf(options []CommandOption) (c preconditions) {
	for _, option := range options {
		option(&c)
	}
	return c
}

// key completes an instance's key with the client's namespace, and checks it.
func (c *Client) key(k domain.Key) (domain.Key, error) {
	if k.Namespace == "" {
		k.Namespace = c.options.Namespace
	}
	return k, k.Validate()
}

// instance is a request about an instance. below is added to the instance's path.
func (c *Client) instance(method string, k domain.Key, below string) (request, error) {
	k, err := c.key(k)
	return request{
		method: method, path: "/v1/services/" + url.PathEscape(k.Service) + "/instances/" + url.PathEscape(k.ID) + below,
		query: url.Values{"ns": {k.Namespace}},
	}, err
}

// command sends a command. The epoch and the owner of the preconditions go into the query. A caller that puts them into
// the body must clear them first.
func (c *Client) command(ctx context.Context, method string, k domain.Key, below string, body any, on preconditions, extra url.Values) (Reply[wire.Result], error) {
	r, err := c.commandRequest(method, k, below, body, on, extra)
	if err != nil {
		return Reply[wire.Result]{}, err
	}
	r.once(c, on.once)
	return c.result(ctx, r, k)
}

// headerKey is the header with the key of a command.
const headerKey = "Idempotency-Key"

// once lets a command be sent again at another node: the registry carries it out once by its key.
func (r *request) once(c *Client, key string) {
	if key == "" && len(c.nodes.urls) < 2 {
		return // it is sent once
	}
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header[headerKey] = `"` + cmp.Or(key, uuid.NewString()) + `"`
	r.repeatable = true
}

// change sends a request that changes something else than an instance, once.
func change[T any](ctx context.Context, c *Client, r request) (Reply[T], error) {
	r.once(c, "")
	return ask[T](ctx, c, r)
}

// end sends a request that ends something else than an instance, once.
func (c *Client) end(ctx context.Context, path, reason string) error {
	r := request{method: http.MethodDelete, path: path, query: url.Values{}}
	set(r.query, "reason", reason)
	r.once(c, "")
	_, _, err := c.call(ctx, r)
	return err
}

// renewal is command for what renews a lease, which does no harm twice.
func (c *Client) renewal(ctx context.Context, method string, k domain.Key, below string, body any, on preconditions) (Reply[wire.Result], error) {
	r, err := c.commandRequest(method, k, below, body, on, nil)
	if err != nil {
		return Reply[wire.Result]{}, err
	}
	r.repeatable = true
	return c.result(ctx, r, k)
}

func (c *Client) commandRequest(method string, k domain.Key, below string, body any, on preconditions, extra url.Values) (request, error) {
	r, err := c.instance(method, k, below)
	if err != nil {
		return r, err
	}
	r.body = body
	for name, values := range extra {
		r.query[name] = values
	}
	if on.epoch != 0 {
		r.query.Set("epoch", strconv.FormatUint(on.epoch, 10))
	}
	if on.owner != "" {
		r.query.Set("owner", on.owner)
	}
	if on.create {
		r.header = map[string]string{"If-None-Match": "*"}
	}
	if on.revision != nil {
		r.header = map[string]string{"If-Match": `"` + strconv.FormatUint(*on.revision, 10) + `"`}
	}
	return r, nil
}

// Register registers an instance. If the instance is registered with the same details, Register renews the lease. The
// reply's Created says that the registration began an epoch. Without a status in details, the instance keeps its status.
func (c *Client) Register(ctx context.Context, k domain.Key, details domain.Details, options ...CommandOption) (Reply[wire.Result], error) {
	on := preconditionsOf(options)
	body := struct {
		domain.Details
		Owner string `json:"owner,omitempty"`
		Epoch uint64 `json:"epoch,omitempty"`
	}{details, on.owner, on.epoch}
	on.epoch, on.owner = 0, ""
	return c.command(ctx, http.MethodPut, k, "", body, on, nil)
}

// Heartbeat renews an instance's lease.
func (c *Client) Heartbeat(ctx context.Context, k domain.Key, options ...CommandOption) (Reply[wire.Result], error) {
	return c.renewal(ctx, http.MethodPut, k, "/heartbeat", nil, preconditionsOf(options))
}

// Heartbeats renews the leases of many instances at once. Each instance is in Succeeded or in Failed of the reply, by its
// index in keys; InOrder gives them in the order of keys.
func (c *Client) Heartbeats(ctx context.Context, keys []domain.Key) (Reply[wire.BatchResult], error) {
	names := make([]string, len(keys))
	for i, k := range keys {
		k, err := c.key(k)
		if err != nil {
			return Reply[wire.BatchResult]{}, err
		}
		names[i] = k.String()
	}
	reply, err := ask[wire.BatchResult](ctx, c, request{method: http.MethodPost, path: "/v1/heartbeats", body: names, repeatable: true})
	if err != nil {
		return reply, err
	}
	if _, ok := reply.Value.InOrder(len(keys)); !ok {
		return Reply[wire.BatchResult]{}, noBatch(c.URL())
	}
	return reply, nil
}

// Health is a report of an instance's health.
type Health struct {
	Status domain.Status       `json:"status"`
	Output string              `json:"output,omitempty"` // of the check
	Source domain.HealthSource `json:"source,omitempty"` // "": the instance itself
}

// ReportHealth reports the status of an instance.
func (c *Client) ReportHealth(ctx context.Context, k domain.Key, report Health, options ...CommandOption) (Reply[wire.Result], error) {
	on := preconditionsOf(options)
	body := struct {
		Health
		Epoch uint64 `json:"epoch,omitempty"`
		Owner string `json:"owner,omitempty"`
	}{report, on.epoch, on.owner}
	on.epoch, on.owner = 0, ""
	return c.command(ctx, http.MethodPut, k, "/health", body, on, nil)
}

// ChangeTraffic changes whether an instance gets traffic. reason may be "".
func (c *Client) ChangeTraffic(ctx context.Context, k domain.Key, traffic domain.Traffic, reason string, options ...CommandOption) (Reply[wire.Result], error) {
	on := preconditionsOf(options)
	body := struct {
		Traffic domain.Traffic `json:"traffic"`
		Reason  string         `json:"reason,omitempty"`
		Force   bool           `json:"force,omitempty"`
		Epoch   uint64         `json:"epoch,omitempty"`
		Owner   string         `json:"owner,omitempty"`
	}{traffic, reason, on.force, on.epoch, on.owner}
	on.epoch, on.owner = 0, ""
	return c.command(ctx, http.MethodPut, k, "/traffic", body, on, nil)
}

// Deregister takes an instance out of the catalog.
func (c *Client) Deregister(ctx context.Context, k domain.Key, reason string, options ...CommandOption) (Reply[wire.Result], error) {
	on, extra := preconditionsOf(options), url.Values{}
	set(extra, "reason", reason)
	if on.force {
		extra.Set("force", "true")
	}
	return c.command(ctx, http.MethodDelete, k, "", nil, on, extra)
}
