package rollcallgrpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Balancer is the balancer's name in a service config.
const Balancer = "rollcall"

// gRPC knows balancers by their names, and takes them at the start of a program only: registering in init is the way that
// its documentation asks for.
func init() { balancer.Register(balancers{}) }

// balancers makes balancers. gRPC's base balancer keeps the connections; the pickers that it asks for pick with pick.
type balancers struct{}

// Name implements balancer.Builder.
func (balancers) Name() string { return Balancer }

// Build implements balancer.Builder.
func (balancers) Build(cc balancer.ClientConn, options balancer.BuildOptions) balancer.Balancer {
	p := &pickers{}
	return &serviceBalancer{base.NewBalancerBuilder(Balancer, p, base.Config{HealthCheck: true}).Build(cc, options), p}
}

type serviceBalancer struct {
	balancer.Balancer
	pickers *pickers
}

// UpdateClientConnState implements balancer.Balancer. gRPC makes one call of a balancer at a time.
func (b *serviceBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	options, ours := s.ResolverState.Attributes.Value(optionsKey{}).(Options)
	list, _ := s.ResolverState.Attributes.Value(instancesKey{}).(instanceList)
	if !ours {
		return errors.New("the balancer " + Balancer + " needs the resolver of this package")
	}
	if b.pickers.balancer == nil {
		b.pickers.options = options
		b.pickers.balancer = pick.New(options.Pick)
	}
	b.pickers.instances = list.all
	return b.Balancer.UpdateClientConnState(s)
}

// pickers makes a picker whenever the connections change. The outcomes of calls outlive a picker in the pick.Balancer.
type pickers struct {
	options   Options
	balancer  *pick.Balancer
	instances []*wire.Instance // of the newest resolution
}

// Build implements base.PickerBuilder. An instance without a connection that is ready is none that can be picked, but it
// counts: while the connections of a zone are down, calls spill over to others.
func (p *pickers) Build(info base.PickerBuildInfo) balancer.Picker {
	if p.balancer == nil || len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	connections := make(map[string]balancer.SubConn, len(info.ReadySCs))
	for sc, of := range info.ReadySCs {
		connections[of.Address.Addr] = sc
	}
	instances := make([]*wire.Instance, len(p.instances))
	for n, i := range p.instances {
		instances[n] = i
		address, ok := addressOf(i, p.options.Pick.Port)
		if !ok {
			continue
		}
		one := *i
		if connections[address] == nil {
			one.Status = domain.Critical
		}
		if p.options.Pick.Port == "" && one.Ports["grpc"] != 0 {
			one.Ports = map[string]uint16{"http": one.Ports["grpc"]} // which pick takes by default
		}
		instances[n] = &one
	}
	p.balancer.Update(instances)
	return &picker{p.options, p.balancer, connections}
}

// picker picks a connection for each call.
type picker struct {
	options     Options
	balancer    *pick.Balancer
	connections map[string]balancer.SubConn // by address
}

// Pick implements balancer.Picker.
func (p *picker) Pick(call balancer.PickInfo) (result balancer.PickResult, err error) {
	var endpoint *pick.Endpoint
	if p.options.Pick.Policy == pick.Rendezvous {
		endpoint, err = p.balancer.PickKey(p.key(call))
	} else {
		endpoint, err = p.balancer.Pick()
	}
	if err != nil {
		return result, balancer.ErrNoSubConnAvailable // the connections change: gRPC asks the next picker
	}
	if result.SubConn = p.connections[endpoint.Address]; result.SubConn == nil {
		return result, balancer.ErrNoSubConnAvailable
	}
	endpoint.Begin()
	began := time.Now()
	result.Done = func(done balancer.DoneInfo) { endpoint.Done(time.Since(began), isAway(done.Err)) }
	return result, nil
}

func (p *picker) key(call balancer.PickInfo) string {
	if p.options.KeyHeader != "" {
		if sent, ok := metadata.FromOutgoingContext(call.Ctx); ok {
			if values := sent.Get(p.options.KeyHeader); len(values) > 0 {
				return values[0]
			}
		}
	}
	return call.FullMethodName
}

// isAway says whether the error of a call means that the instance does not serve.
func isAway(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}
