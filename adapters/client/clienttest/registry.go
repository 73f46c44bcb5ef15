// Package clienttest has a registry in memory for tests of programs that use the client. It decides commands by the rules
// of the domain, it answers heartbeats, batches, reports of checks, lookups of instances and streams of the catalog, and it can be away,
// swallow every request, expire leases and be restored. It checks no request for mistakes: that is left to the registry.
package clienttest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Registry is a registry in memory. It is an http.RoundTripper that answers every request itself.
type Registry struct {
	mu        sync.Mutex
	instances map[domain.Key]domain.Instance
	heard     map[domain.Key]time.Time // when the lease was renewed
	position  eventstore.Position
	timeline  string
	changes   []wire.Change // of this timeline
	streams   map[*stream]struct{}
	away      error
	swallows  bool
	asked     []string
	panics    []wire.ServicePanic
}

// New is an empty registry.
func New() *Registry {
	return &Registry{instances: map[domain.Key]domain.Instance{}, heard: map[domain.Key]time.Time{}, streams: map[*stream]struct{}{}}
}

// Client is a client of the registry. Options.Transport is not used.
func (r *Registry) Client(options client.Options) *client.Client {
	options.Transport = r
	c, err := client.New("http://registry.test", options)
	if err != nil {
		panic(err) // the URL is right
	}
	return c
}

// Do carries out a command, as another client would.
func (r *Registry) Do(command domain.Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.do(command)
	return err
}

// Register registers an instance of the default namespace with a port.
func (r *Registry) Register(service, id, address string, port uint16) {
	key := domain.Key{Namespace: domain.DefaultNamespace, Service: service, ID: id}
	details := domain.Details{Address: address, Ports: map[string]uint16{"http": port}, Weight: domain.DefaultWeight, TTL: domain.Duration(domain.MaxTTL)}
	if err := r.Do(domain.RegisterInstance{Key: key, Details: details}); err != nil {
		panic(err)
	}
}

// Instance is the state of an instance.
func (r *Registry) Instance(key domain.Key) domain.Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.instances[key]
}

// Expire ends the leases that have lapsed.
func (r *Registry) Expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, i := range r.instances {
		if i.Live() && time.Since(r.heard[key]) > time.Duration(i.Details.TTL) {
			if _, err := r.do(domain.ExpireLease{Key: key, Epoch: i.Epoch}); err != nil {
				panic(err)
			}
		}
	}
}

// Backup gives the state, for Restore.
func (r *Registry) Backup() map[domain.Key]domain.Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	backup := make(map[domain.Key]domain.Instance, len(r.instances))
	for key, i := range r.instances {
		backup[key] = i
	}
	return backup
}

// Restore gives the registry the state of a backup. It begins a timeline, and ends all streams.
func (r *Registry) Restore(backup map[domain.Key]domain.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances, r.changes = map[domain.Key]domain.Instance{}, nil
	for key, i := range backup {
		r.instances[key] = i
		r.heard[key] = time.Now()
	}
	r.timeline += "a"
	r.endStreams(io.ErrUnexpectedEOF)
}

// SetPanics has services panic by a policy, and no others. Streams are told.
func (r *Registry) SetPanics(policy string, services ...domain.ServiceKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.panics = []wire.ServicePanic{}
	for _, key := range services {
		r.panics = append(r.panics, wire.ServicePanic{Namespace: key.Namespace, Service: key.Service, Panic: wire.Panic{Policy: policy}})
	}
	for s := range r.streams {
		s.queue <- message(r.at(), wire.StreamPanic, r.panicsOf(s))
	}
}

// SetAway has every request fail with an error, and ends all streams; nil: the registry is back.
func (r *Registry) SetAway(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = err
	if err != nil {
		r.endStreams(err)
	}
}

// SetSwallow has the path to the registry swallow every byte, in both directions, without an error.
func (r *Registry) SetSwallow(swallow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swallows = swallow
}

// Asked are the requests that came, as "METHOD path?query", since the last call.
func (r *Registry) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// RoundTrip answers a request.
func (r *Registry) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		_ = request.Body.Close()
	}
	r.mu.Lock()
	r.asked = append(r.asked, request.Method+" "+request.URL.RequestURI())
	away, swallows := r.away, r.swallows
	r.mu.Unlock()
	switch {
	case away != nil:
		return nil, away
	case swallows:
		<-request.Context().Done()
		return nil, request.Context().Err()
	case request.URL.Path == "/v1/streams/catalog":
		return r.stream(request), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	path := strings.Split(strings.TrimPrefix(request.URL.Path, "/v1/"), "/")
	switch {
	case path[0] == "heartbeats":
		return r.heartbeats(request, body), nil
	case path[0] == "commands":
		return r.commands(request, body), nil
	case path[0] == "check-reports":
		return r.checkReports(request, body), nil
	case len(path) == 4 && request.Method == http.MethodGet:
		key := domain.Key{Namespace: request.URL.Query().Get("ns"), Service: path[1], ID: path[3]}
		i, known := r.instances[key]
		if !known || !i.Live() {
			return r.refuse(request, domain.UnknownInstance{Key: key}), nil
		}
		return r.answer(request, http.StatusOK, show(i)), nil
	}
	return r.refuse(request, errors.New("this registry of a test has no such route")), nil
}

func (r *Registry) at() wire.Position {
	return wire.Position{Timeline: r.timeline, Number: r.position}
}

func (r *Registry) answer(request *http.Request, status int, value any) *http.Response {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Request: request,
		Header: http.Header{"Rollcall-Position": {r.at().String()}}, Body: io.NopCloser(bytes.NewReader(b)),
	}
}

func (r *Registry) refuse(request *http.Request, err error) *http.Response {
	p := problemOf(err)
	return r.answer(request, p.Status, p)
}

func problemOf(err error) *wire.Problem {
	p := &wire.Problem{Type: wire.TypePrefix + "internal", Status: http.StatusInternalServerError, Detail: err.Error()}
	var field domain.InvalidField
	switch {
	case errors.As(err, new(domain.UnknownInstance)):
		p.Type, p.Status = wire.UnknownInstance, http.StatusNotFound
	case errors.As(err, new(domain.UnknownCheck)):
		p.Type, p.Status = wire.TypePrefix+"unknown-check", http.StatusNotFound
	case errors.As(err, new(domain.LeaseLapsed)):
		p.Type, p.Status = wire.LeaseExpired, http.StatusNotFound
	case errors.As(err, new(domain.StaleEpoch)):
		p.Type, p.Status = wire.StaleEpoch, http.StatusConflict
	case errors.As(err, new(domain.OtherOwner)):
		p.Type, p.Status = wire.OtherOwner, http.StatusConflict
	case errors.As(err, new(domain.AlreadyLive)):
		p.Type, p.Status = wire.AlreadyLive, http.StatusPreconditionFailed
	case errors.As(err, &field):
		p.Type, p.Status, p.Field, p.Rule = wire.TypePrefix+"invalid-field", http.StatusUnprocessableEntity, field.Field, field.Rule
	}
	return p
}

// do decides a command and applies its events. REQUIRES: the caller holds mu.
func (r *Registry) do(command domain.Command) (wire.Result, error) {
	key := command.Instance()
	if err := command.Validate(); err != nil {
		return wire.Result{}, err
	}
	before := r.instances[key]
	events, err := domain.Decide(before, command)
	if err != nil {
		return wire.Result{}, err
	}
	after := before
	after.Key = key
	for _, e := range events {
		r.position++
		switch received := e.(type) {
		case domain.HeartbeatReceived: // that of a check renews the check's ttl only
			if received.Check == "" {
				r.heard[key] = time.Now()
			}
			continue
		case domain.InstanceRegistered, domain.InstanceUpdated:
			r.heard[key] = time.Now()
		}
		after = domain.Evolve(after, e, domain.Recorded{At: time.Now()})
		r.instances[key] = after
		r.tell(e.EventType(), after)
	}
	return wire.Result{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Position: r.at(), Epoch: after.Epoch}, nil
}

func show(i domain.Instance) wire.Instance {
	details := i.Details
	details.Status = i.Status
	var checks []wire.Check
	for n, c := range i.Checks {
		checks = append(checks, wire.Check{Check: details.Checks[n], Status: c.Status, Since: c.Since, Output: c.Output, By: c.By})
	}
	return wire.Instance{
		Namespace: i.Key.Namespace, Service: i.Key.Service, ID: i.Key.ID,
		Details: details, Checks: checks, Traffic: i.Traffic, Epoch: i.Epoch, Owner: i.Owner,
	}
}

func (r *Registry) batch(request *http.Request, n int, do func(i int) (wire.Result, error)) *http.Response {
	result := wire.BatchResult{Succeeded: []wire.BatchSuccess{}, Failed: []wire.BatchFailure{}}
	for i := range n {
		done, err := do(i)
		if err != nil {
			result.Failed = append(result.Failed, wire.BatchFailure{Index: i, Problem: *problemOf(err)})
			continue
		}
		result.Succeeded = append(result.Succeeded, wire.BatchSuccess{Index: i, Result: done})
	}
	result.Position = r.at()
	return r.answer(request, http.StatusOK, result)
}

func (r *Registry) heartbeats(request *http.Request, body []byte) *http.Response {
	var names []string
	if err := json.Unmarshal(body, &names); err != nil {
		return r.refuse(request, err)
	}
	return r.batch(request, len(names), func(i int) (wire.Result, error) {
		key, err := domain.ParseKey(names[i])
		if err != nil {
			return wire.Result{}, err
		}
		return r.do(domain.SendHeartbeat{Key: key, Owner: request.URL.Query().Get("owner")})
	})
}

func (r *Registry) commands(request *http.Request, body []byte) *http.Response {
	var items []struct {
		domain.Details
		Type, Namespace, Service, ID, Owner, Output, Reason string
		Epoch                                               uint64
		IfNoneMatch                                         string `json:"if_none_match"`
		Source                                              domain.HealthSource
		Traffic                                             domain.Traffic
	}
	if err := json.Unmarshal(body, &items); err != nil {
		return r.refuse(request, err)
	}
	return r.batch(request, len(items), func(n int) (wire.Result, error) {
		i := items[n]
		key := domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}
		switch i.Type {
		case "RegisterInstance":
			return r.do(domain.RegisterInstance{Key: key, Owner: i.Owner, Epoch: i.Epoch, Details: i.Details, CreateOnly: i.IfNoneMatch != ""})
		case "ReportHealth":
			return r.do(domain.ReportHealth{Key: key, Owner: i.Owner, Epoch: i.Epoch, Status: i.Details.Status, Source: i.Source, Output: i.Output})
		case "ChangeTraffic":
			return r.do(domain.ChangeTraffic{Key: key, Owner: i.Owner, Epoch: i.Epoch, Traffic: i.Traffic, Reason: i.Reason})
		case "DeregisterInstance":
			return r.do(domain.DeregisterInstance{Key: key, Owner: i.Owner, Epoch: i.Epoch, Reason: i.Reason})
		}
		return wire.Result{}, domain.InvalidField{Field: "type", Rule: "is not known: " + i.Type}
	})
}

func (r *Registry) checkReports(request *http.Request, body []byte) *http.Response {
	var items []struct {
		Namespace, Service, ID, Check, Output, Owner string
		Status                                       domain.Status
		Epoch                                        uint64
	}
	if err := json.Unmarshal(body, &items); err != nil {
		return r.refuse(request, err)
	}
	return r.batch(request, len(items), func(n int) (wire.Result, error) {
		i := items[n]
		return r.do(domain.ReportCheck{
			Key: domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}, Owner: i.Owner, Epoch: i.Epoch,
			Check: i.Check, Status: cmp.Or(i.Status, domain.Passing), Output: i.Output,
		})
	})
}

// follows says whether a stream of some services ("namespace/service"; none: all) tells of a service.
func follows(services []string, namespace, service string) bool {
	return len(services) == 0 || slices.Contains(services, namespace+"/"+service)
}
