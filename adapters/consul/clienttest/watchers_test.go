package clienttest

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kit "github.com/go-kit/kit/sd"
	kitconsul "github.com/go-kit/kit/sd/consul"
	"github.com/go-kit/log"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	promconsul "github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// watcher follows the service web, or what there is, at an address, and says what it knows: what that is depends on its kind.
type watcher struct {
	name  string
	kind  kind
	watch func(t *testing.T, address string, says func(string))
	idle  int64 // how many requests it may send in an idle time, see idleTime
}

type kind int

const (
	healthy   kind = iota // the ids of web that may get requests
	listening             // their ports
	routed                // their ports, also of those with a warning
	names                 // the services
	nodes
	keys // a key that is not there
)

var watchers = []watcher{
	{"consul/api watch service", healthy, watchPlan(map[string]any{"type": "service", "service": "web", "passingonly": true}), 2},
	{"consul/api watch services", names, watchPlan(map[string]any{"type": "services"}), 2},
	{"consul/api watch checks", healthy, watchPlan(map[string]any{"type": "checks", "service": "web"}), 2},
	{"consul/api watch all checks", healthy, watchPlan(map[string]any{"type": "checks"}), 2},
	{"consul/api watch nodes", nodes, watchPlan(map[string]any{"type": "nodes"}), 2},
	{"consul/api watch key", keys, watchPlan(map[string]any{"type": "key", "key": "config/web"}), 2},
	{"go-kit", listening, watchKit, 2},
	{"prometheus", healthy, watchPrometheus, 4},
	{"consul-template", healthy, watchTemplate, 6},
	{"npm consul", healthy, watchNode, 3},
	{"python-consul", healthy, watchPython, 3},
	{"a gRPC resolver", listening, watchResolver, 2},
	{"fabio", healthy, watchFabio, 10},
	{"kratos", listening, watchKratos, 2},
	{"go-micro", listening, watchMicro, 3},
	{"traefik", routed, watchTraefik, 6},
	{"spring-cloud-consul", names, watchSpring, 20},
}

func line(ids []string) string {
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), " ")
}

// watchPlan runs a plan of Consul's own watch package.
func watchPlan(params map[string]any) func(*testing.T, string, func(string)) {
	return func(t *testing.T, address string, says func(string)) {
		plan, err := watch.Parse(params)
		must(t, err)
		plan.Handler = func(_ uint64, result any) {
			var all []string
			switch result := result.(type) {
			case []*api.ServiceEntry:
				for _, e := range result {
					all = append(all, e.Service.ID)
				}
			case map[string][]string:
				for name := range result {
					all = append(all, name)
				}
			case []*api.HealthCheck:
				all = passingIDs(result)
			case []*api.Node:
				for _, n := range result {
					all = append(all, n.Node)
				}
			case *api.KVPair:
				if result != nil {
					all = append(all, result.Key)
				}
			}
			says(line(all))
		}
		done := make(chan struct{})
		client := clientOf(t, address)
		go func() {
			defer close(done)
			_ = plan.RunWithClientAndHclog(client, hclog.NewNullLogger()) // it tries again, and ends at Stop
		}()
		t.Cleanup(plan.Stop)
	}
}

// passingIDs are the ids of web of which every check passes, and every check of their nodes.
func passingIDs(checks []*api.HealthCheck) (all []string) {
	failing, failingNode := map[string]bool{}, map[string]bool{}
	for _, c := range checks {
		if c.ServiceID == "" {
			failingNode[c.Node] = failingNode[c.Node] || c.Status != api.HealthPassing
		}
	}
	for _, c := range checks {
		if c.ServiceName == "web" {
			failing[c.ServiceID] = failing[c.ServiceID] || c.Status != api.HealthPassing || failingNode[c.Node]
		}
	}
	for id, bad := range failing {
		if !bad {
			all = append(all, id)
		}
	}
	return all
}

func watchKit(t *testing.T, address string, says func(string)) {
	instancer := kitconsul.NewInstancer(kitconsul.NewClient(clientOf(t, address)), log.NewNopLogger(), "web", nil, true)
	events := make(chan kit.Event)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case e := <-events:
				if e.Err == nil {
					says(portsOf(e.Instances))
				}
			case <-stop:
				return
			}
		}
	}()
	instancer.Register(events)
	t.Cleanup(func() {
		instancer.Stop()
		instancer.Deregister(events)
		close(stop)
	})
}

func portsOf(addresses []string) string {
	var all []string
	for _, a := range addresses {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			port = a
		}
		all = append(all, port)
	}
	return line(all)
}

func watchPrometheus(t *testing.T, address string, says func(string)) {
	registry := prometheus.NewRegistry()
	conf := &promconsul.SDConfig{Server: address, TagSeparator: ",", Scheme: "http", AllowStale: true, RefreshInterval: model.Duration(time.Second), HTTPClientConfig: config.DefaultHTTPClientConfig}
	refresh := discovery.NewRefreshMetrics(registry)
	metrics := conf.NewDiscovererMetrics(registry, refresh)
	discoverer, err := promconsul.NewDiscovery(conf, nil, metrics)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	groups := make(chan []*targetgroup.Group)
	var running sync.WaitGroup
	running.Go(func() { discoverer.Run(ctx, groups) })
	running.Go(func() {
		web := map[string]*targetgroup.Group{}
		for {
			select {
			case <-ctx.Done():
				return
			case changed := <-groups:
				for _, g := range changed {
					if g != nil {
						web[g.Source] = g
					}
				}
			}
			var all []string
			for source, g := range web {
				for _, target := range g.Targets {
					if source == "web" && target["__meta_consul_health"] == "passing" {
						all = append(all, string(target["__meta_consul_service_id"]))
					}
				}
			}
			says(line(all))
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}
