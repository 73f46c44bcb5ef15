package rollcallgrpc_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/rollcallgrpc"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// serve runs a gRPC server on a free port.
func serve(t testing.TB) (server *grpc.Server, address string, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	_, text, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.ParseUint(text, 10, 16)
	return server, l.Addr().String(), uint16(n)
}

// watched is a registry, and a watcher of it.
func watched(t testing.TB) (*clienttest.Registry, *watch.Watcher) {
	t.Helper()
	r := clienttest.New()
	ctx, end := context.WithCancel(context.Background())
	w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{})
	t.Cleanup(func() { end(); <-w.Done() })
	return r, w
}

func dial(t testing.TB, w *watch.Watcher, target string, options rollcallgrpc.Options) grpc_health_v1.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithResolvers(rollcallgrpc.NewResolver(w, options)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpc_health_v1.NewHealthClient(conn)
}

// call calls once and gives the address of the server that answered.
func call(ctx context.Context, c grpc_health_v1.HealthClient, options ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var who peer.Peer
	_, err := c.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, append(options, grpc.Peer(&who))...)
	if err != nil {
		return "", err
	}
	return who.Addr.String(), nil
}

// until calls until the answers of 30 calls in a row come from these addresses only, and from each. A call may fail
// meanwhile: one that was under way at a server that crashes does.
func until(t *testing.T, c grpc_health_v1.HealthClient, want ...string) {
	t.Helper()
	var seen map[string]int
	var failed error
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		seen, failed = map[string]int{}, nil
		for range 30 {
			from, err := call(t.Context(), c, grpc.WaitForReady(true))
			if err != nil {
				failed = err
				break
			}
			seen[from]++
		}
		all := failed == nil && len(seen) == len(want)
		for _, address := range want {
			all = all && seen[address] > 0
		}
		if all {
			return
		}
	}
	t.Fatalf("answered by %v, want %v (%v)", seen, want, failed)
}

func details(port uint16, change ...func(*domain.Details)) domain.Details {
	d := domain.Details{Address: "127.0.0.1", Ports: map[string]uint16{"grpc": port, "http": 1}, Weight: 100, TTL: domain.Duration(time.Hour)}
	for _, c := range change {
		c(&d)
	}
	return d
}

func register(t *testing.T, r *clienttest.Registry, key domain.Key, d domain.Details) {
	t.Helper()
	if err := r.Do(domain.RegisterInstance{Key: key, Details: d}); err != nil {
		t.Fatal(err)
	}
}

func key(id string) domain.Key { return domain.Key{Namespace: "prod", Service: "checkout", ID: id} }

func TestCallsFollowTheRegistry(t *testing.T) {
	r, w := watched(t)
	one, a, portA := serve(t)
	_, b, portB := serve(t)
	register(t, r, key("a"), details(portA))
	c := dial(t, w, "rollcall:///checkout?ns=prod", rollcallgrpc.Options{})
	until(t, c, a)
	register(t, r, key("b"), details(portB))
	until(t, c, a, b)
	if err := r.Do(domain.ChangeTraffic{Key: key("a"), Traffic: domain.Draining}); err != nil {
		t.Fatal(err)
	}
	until(t, c, b)
	if err := r.Do(domain.ChangeTraffic{Key: key("a"), Traffic: domain.Serving}); err != nil {
		t.Fatal(err)
	}
	until(t, c, a, b)
	one.Stop() // a crash: the connection says so before the registry does
	until(t, c, b)
	if err := r.Do(domain.DeregisterInstance{Key: key("a")}); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(domain.DeregisterInstance{Key: key("b")}); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := call(t.Context(), c)
		if status.Code(err) == codes.Unavailable {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("without an instance: %v", err)
		}
	}
	register(t, r, key("b"), details(portB))
	until(t, c, b)
}

func TestWeightsAndZonesCount(t *testing.T) {
	r, w := watched(t)
	_, near, portNear := serve(t)
	_, far, portFar := serve(t)
	inZone := func(z string) func(*domain.Details) { return func(d *domain.Details) { d.Zone = z } }
	register(t, r, key("near"), details(portNear, inZone("a")))
	register(t, r, key("far"), details(portFar, inZone("b")))
	c := dial(t, w, "rollcall:///checkout?ns=prod&port=grpc", rollcallgrpc.Options{Pick: pick.Options{Zone: "a"}})
	until(t, c, near)
	weighted := dial(t, w, "rollcall:///checkout?ns=prod", rollcallgrpc.Options{Pick: pick.Options{Policy: pick.WeightedRandom}})
	until(t, weighted, near, far)
	register(t, r, key("far"), details(portFar, inZone("b"), func(d *domain.Details) { d.Weight = 0 })) // of a known connection
	until(t, weighted, near)
	if err := r.Do(domain.DeregisterInstance{Key: key("near")}); err != nil {
		t.Fatal(err)
	}
	until(t, c, far)
}

func TestEqualKeysGoToOneInstance(t *testing.T) {
	r, w := watched(t)
	for _, id := range []string{"a", "b", "c"} {
		_, _, port := serve(t)
		register(t, r, key(id), details(port))
	}
	c := dial(t, w, "rollcall:///checkout?ns=prod", rollcallgrpc.Options{Pick: pick.Options{Policy: pick.Rendezvous}, KeyHeader: "user"})
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) { // until all are connected
		all := map[string]bool{}
		for n := range 30 {
			for range 3 {
				from, err := call(metadata.AppendToOutgoingContext(t.Context(), "user", fmt.Sprint(n)), c, grpc.WaitForReady(true))
				if err != nil {
					t.Fatal(err)
				}
				all[fmt.Sprint(n, " ", from)] = true
			}
		}
		servers := map[string]bool{}
		for pair := range all {
			servers[strings.Fields(pair)[1]] = true
		}
		if len(all) == 30 && len(servers) == 3 {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("30 keys went to %d pairs, %d servers", len(all), len(servers))
		}
	}
}

// states is a gRPC client that keeps what a resolver tells.
type states struct {
	resolver.ClientConn
	told chan resolver.State
}

func (s *states) UpdateState(state resolver.State) error { s.told <- state; return nil }

func TestEndpointsCarryTheirInstance(t *testing.T) {
	r, w := watched(t)
	register(t, r, key("a"), details(9000, func(d *domain.Details) { d.Zone, d.Weight = "eu-1", 7 }))
	tell := &states{told: make(chan resolver.State, 100)}
	conn, err := grpc.NewClient("rollcall:///checkout?ns=prod", grpc.WithResolvers(spy{rollcallgrpc.NewResolver(w, rollcallgrpc.Options{}), tell}), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Connect()
	state := <-tell.told
	var of *wire.Instance
	if len(state.Endpoints) == 1 {
		of = rollcallgrpc.InstanceOf(state.Endpoints[0])
	}
	if of == nil || of.Zone != "eu-1" || of.Weight != 7 || state.Endpoints[0].Addresses[0].Addr != "127.0.0.1:9000" {
		t.Errorf("the endpoints are %+v", state.Endpoints)
	}
	if rollcallgrpc.InstanceOf(resolver.Endpoint{Addresses: []resolver.Address{{Addr: "127.0.0.1:1"}}}) != nil {
		t.Error("another resolver's endpoint has an instance")
	}
}

// spy is a resolver whose states go to the test too.
type spy struct {
	resolver.Builder
	tell *states
}

func (s spy) Build(target resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	s.tell.ClientConn = cc
	return s.Builder.Build(target, s.tell, o)
}

func TestBadTargetsAreRefused(t *testing.T) {
	_, w := watched(t)
	for _, target := range []string{"rollcall:///", "rollcall:///-", "rollcall:///checkout?colour=red", "rollcall:///checkout?ns=", "rollcall:///checkout?ns=a&ns=b", "rollcall://checkout", "rollcall:///checkout?ns=UPPER"} {
		conn, err := grpc.NewClient(target, grpc.WithResolvers(rollcallgrpc.NewResolver(w, rollcallgrpc.Options{})), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			continue
		}
		if _, err := call(t.Context(), grpc_health_v1.NewHealthClient(conn)); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", target, err)
		}
		_ = conn.Close()
	}
}

func ExampleNewResolver() {
	registry := clienttest.New()
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	registry.Register("checkout", "a-1", "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port))
	ctx, end := context.WithCancel(context.Background())
	w := watch.Start(ctx, registry.Client(client.Options{}), watch.Options{Cache: ""})
	defer func() { end(); <-w.Done() }()

	conn, err := grpc.NewClient("rollcall:///checkout",
		grpc.WithResolvers(rollcallgrpc.NewResolver(w, rollcallgrpc.Options{Pick: pick.Options{Policy: pick.LeastLoaded}})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		panic(err)
	}
	fmt.Println(reply.Status)
	// Output: SERVING
}
