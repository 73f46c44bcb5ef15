// Package rollcallgrpc lets gRPC clients call services of a registry: a resolver for targets such as
// rollcall:///checkout?ns=prod&port=grpc, and a balancer that picks by the policies of the package pick.
//
// The endpoints that the resolver gives carry their instance (InstanceOf), with zone and weight. A draining instance gets
// no new calls; calls that it has begun go on.
package rollcallgrpc

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Scheme begins the targets of the resolver.
const Scheme = "rollcall"

// Options are the options of the resolver and its balancer. The zero value is usable.
type Options struct {
	Pick pick.Options // Port "": grpc, or else http, or else the only port
	// KeyHeader is the metadata of a call whose value is the key where the policy is pick.Rendezvous; "": the method.
	KeyHeader string
	// ServiceConfig is a service config, e.g. with a methodConfig. A loadBalancingConfig takes the place of this package's
	// balancer. "": none.
	ServiceConfig string
}

// NewResolver is for grpc.WithResolvers.
func NewResolver(w *watch.Watcher, options Options) resolver.Builder {
	return &builder{w, options}
}

type builder struct {
	watcher *watch.Watcher
	options Options
}

// Scheme implements resolver.Builder.
func (b *builder) Scheme() string { return Scheme }

// Build implements resolver.Builder.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	options := b.options
	key, port, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	options.Pick.Port = cmp.Or(port, options.Pick.Port)
	config, err := serviceConfig(options.ServiceConfig)
	if err != nil {
		return nil, err
	}
	service, err := b.watcher.Service(key)
	if err != nil {
		return nil, err
	}
	r := &serviceResolver{service: service, cc: cc, options: options, config: config, changed: make(chan []*wire.Instance, 1), closed: make(chan struct{}), ended: make(chan struct{})}
	r.stop = service.Listen(r.offer)
	go r.run()
	return r, nil
}

// parseTarget reads a target such as rollcall:///checkout?ns=prod&port=grpc.
func parseTarget(target resolver.Target) (key domain.ServiceKey, port string, err error) {
	key.Service = target.Endpoint()
	values, err := url.ParseQuery(target.URL.RawQuery)
	if err != nil {
		return key, "", err
	}
	if target.URL.Host != "" {
		return key, "", domain.InvalidField{Field: "target", Rule: "must be like rollcall:///checkout: it has three slashes"}
	}
	for name, all := range values {
		switch {
		case len(all) > 1 || all[0] == "":
			return key, "", domain.InvalidField{Field: name, Rule: "must have one value"}
		case name == "ns":
			key.Namespace = all[0]
		case name == "port":
			port = all[0]
		default:
			return key, "", domain.InvalidField{Field: name, Rule: "is not a known parameter of a target"}
		}
	}
	return key, port, nil
}

// serviceConfig names the balancer in a service config that names none.
func serviceConfig(given string) (string, error) {
	config := map[string]any{}
	if given != "" {
		if err := json.Unmarshal([]byte(given), &config); err != nil {
			return "", fmt.Errorf("the service config is not JSON: %w", err)
		}
	}
	if config["loadBalancingConfig"] == nil {
		config["loadBalancingConfig"] = []any{map[string]any{Balancer: map[string]any{}}}
	}
	b, err := json.Marshal(config)
	return string(b), err
}

// serviceResolver tells a gRPC client of the ready instances of a service. One goroutine calls the client, because
// listeners must not block.
type serviceResolver struct {
	service *watch.Service
	cc      resolver.ClientConn
	options Options
	config  string
	changed chan []*wire.Instance // holds the newest instances that were not told yet; never closed
	closed  chan struct{}         // closed by Close
	ended   chan struct{}         // closed when run has ended
	stop    func()
}

// offer keeps the newest instances for run. Only the watcher calls it, one call at a time.
func (r *serviceResolver) offer(instances []*wire.Instance) {
	select {
	case <-r.changed: // they are older
	default:
	}
	r.changed <- instances
}

func (r *serviceResolver) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.closed:
			return
		case instances := <-r.changed:
			_ = r.cc.UpdateState(r.state(instances)) // an error asks for a new look, and the watcher tells of each change
		}
	}
}

func (r *serviceResolver) state(instances []*wire.Instance) resolver.State {
	state := resolver.State{ServiceConfig: r.cc.ParseServiceConfig(r.config), Attributes: attributes.New(optionsKey{}, r.options)}
	state.Attributes = state.Attributes.WithValue(instancesKey{}, instanceList{instances})
	for _, i := range instances {
		if address, ok := addressOf(i, r.options.Pick.Port); ok && pick.Ready(i) {
			at := resolver.Address{Addr: address}
			state.Addresses = append(state.Addresses, at) // for the base balancer
			state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{at}, Attributes: attributes.New(instanceKey{}, instanceValue{i})})
		}
	}
	return state
}

// addressOf is where an instance serves gRPC.
func addressOf(i *wire.Instance, port string) (string, bool) {
	if _, named := i.Ports["grpc"]; port == "" && named {
		port = "grpc"
	}
	return pick.Address(i, port)
}

// ResolveNow implements resolver.Resolver. The watcher tells of every change as it happens.
func (r *serviceResolver) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements resolver.Resolver.
func (r *serviceResolver) Close() {
	close(r.closed)
	r.stop()
	r.service.Close()
	<-r.ended
}

type (
	optionsKey   struct{}
	instancesKey struct{}
	instanceKey  struct{}
)

// instanceValue and instanceList are values of attributes, which are compared.
type (
	instanceValue struct{ *wire.Instance }
	instanceList  struct{ all []*wire.Instance }
)

// Equal implements the interface that attributes ask for.
func (v instanceValue) Equal(o any) bool {
	other, ok := o.(instanceValue)
	return ok && v.Instance == other.Instance
}

// Equal implements the interface that attributes ask for.
func (l instanceList) Equal(o any) bool {
	other, ok := o.(instanceList)
	return ok && len(l.all) == len(other.all) && (len(l.all) == 0 || &l.all[0] == &other.all[0])
}

// Equal implements the interface that attributes ask for.
func (o Options) Equal(other any) bool { return o == other }

// InstanceOf is the instance at an endpoint that this package's resolver gave; nil: the endpoint is another's. Balancers of
// other packages read zone and weight from it.
func InstanceOf(endpoint resolver.Endpoint) *wire.Instance {
	v, _ := endpoint.Attributes.Value(instanceKey{}).(instanceValue)
	return v.Instance
}
