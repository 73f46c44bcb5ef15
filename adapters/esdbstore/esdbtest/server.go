// Package esdbtest is an EventStoreDB for tests: an in-process gRPC server that speaks the part of the
// Streams protocol that package esdbstore uses, over a log in memory, and fails on demand.
//
// It does not imitate: persistence (its log is gone with it), replication and elections (its gossip
// names one member), authentication, access control, stream deletion and scavenging, links and
// projections, persistent subscriptions, transactions. Of stream metadata it honours $maxAge, on reads.
package esdbtest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
)

// Fault is what befalls an append.
type Fault int

// The faults.
const (
	None         Fault = iota
	DropBefore         // the connection breaks before the append is committed
	DropAfter          // it breaks after, so the client does not know
	NotLeader          // this node is no leader, and names itself as the leader to go to
	SlowNode           // the answer takes 300 ms
	PastDue            // the answer is that the deadline passed; nothing was committed
	AccessDenied       // the caller may not
)

// Server is a running EventStoreDB.
type Server struct {
	// Fail says what befalls the next append; nil: nothing. Set it before the server is used.
	Fail func(stream string) Fault

	address  string
	mu       sync.Mutex
	events   []event
	streams  map[string][]int // indexes into events
	grown    chan struct{}    // closed and replaced when events come
	serving  *grpc.Server
	stopping bool
}

type event struct {
	id       *shared.UUID
	stream   string
	revision uint64
	position uint64
	created  time.Time
	metadata map[string]string
	custom   []byte
	data     []byte
}

// Start runs a server on a free port of the loopback.
func Start() (*Server, error) {
	s := &Server{streams: make(map[string][]int), grown: make(chan struct{})}
	return s, s.listen("127.0.0.1:0")
}

func (s *Server) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	serving := grpc.NewServer(grpc.MaxRecvMsgSize(20<<20), grpc.ReadBufferSize(64<<10), grpc.WriteBufferSize(64<<10))
	streams.RegisterStreamsServer(serving, streamsServer{s: s})
	serverfeatures.RegisterServerFeaturesServer(serving, featuresServer{})
	gossip.RegisterGossipServer(serving, gossipServer{s: s})
	s.mu.Lock()
	s.address, s.serving, s.stopping = listener.Addr().String(), serving, false
	s.mu.Unlock()
	go func() { _ = serving.Serve(listener) }() // it ends with Stop
	return nil
}

// Address is where the server listens.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// ConnectionString is that of a client's.
func (s *Server) ConnectionString() string { return "esdb://" + s.Address() + "?tls=false" }

// Stop breaks all connections and listens no more. The log stays.
func (s *Server) Stop() {
	s.mu.Lock()
	serving := s.serving
	s.stopping = true
	close(s.grown)
	s.grown = make(chan struct{})
	s.mu.Unlock()
	serving.Stop()
}

// Restart listens again, at the same address.
func (s *Server) Restart() error { return s.listen(s.Address()) }

// Put appends an event past all protocol, as another program would.
func (s *Server) Put(stream, eventType string, data, custom []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(stream, &shared.UUID{Value: &shared.UUID_String_{String_: fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.events))}},
		map[string]string{"type": eventType, "content-type": "application/json"}, custom, data, time.Now())
	s.tell()
}

func (s *Server) put(stream string, id *shared.UUID, meta map[string]string, custom, data []byte, now time.Time) *event {
	e := event{id: id, stream: stream, revision: uint64(len(s.streams[stream])), position: 512, created: now, metadata: meta, custom: custom, data: data}
	if n := len(s.events); n > 0 { // positions are places in a file
		last := &s.events[n-1]
		e.position = last.position + 128 + uint64(len(last.data)+len(last.custom))
		if e.created.Before(last.created) {
			e.created = last.created
		}
	}
	e.metadata["created"] = strconv.FormatInt(e.created.UnixNano()/100, 10)
	s.streams[stream] = append(s.streams[stream], len(s.events))
	s.events = append(s.events, e)
	return &s.events[len(s.events)-1]
}

func (s *Server) tell() {
	close(s.grown)
	s.grown = make(chan struct{})
}

type streamsServer struct {
	streams.UnimplementedStreamsServer
	s *Server
}

type featuresServer struct {
	serverfeatures.UnimplementedServerFeaturesServer
}

// GetSupportedMethods implements serverfeatures.ServerFeaturesServer.
func (featuresServer) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	return &serverfeatures.SupportedMethods{EventStoreServerVersion: "24.10.0"}, nil
}

type gossipServer struct {
	gossip.UnimplementedGossipServer
	s *Server
}

// Read implements gossip.GossipServer: a cluster of one.
func (h gossipServer) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	host, port, err := net.SplitHostPort(h.s.Address())
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		State: gossip.MemberInfo_Leader, IsAlive: true, HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(n)},
	}}}, err
}

// Metadata is what was set as a stream's metadata, oldest first.
func (s *Server) Metadata(stream string) (set []string) {
	events, _ := s.stream("$$" + stream)
	for _, e := range events {
		set = append(set, string(e.data))
	}
	return set
}
