// Package esdbtest is an EventStoreDB for tests: in-process gRPC servers that speak the part of the protocol
// that package esdbstore uses, over a log in memory. A server alone fails on demand; several make a cluster
// whose nodes lead, follow, elect, are killed and frozen, as it was measured with real ones.
//
// It does not imitate: persistence (its log is gone with it), the loss and truncation of what a dead leader had
// alone, users and rights (but see Answer), stream deletion and scavenging, links and projections, persistent
// subscriptions, transactions. Of stream metadata it honours $maxAge, on reads.
package esdbtest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
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
	PastDue            // the answer is that the time was up; nothing was committed
	AccessDenied       // the caller may not
	Lost               // there is no answer; nothing was committed
)

// Server is a running node of an EventStoreDB, alone or of a Cluster.
type Server struct {
	fail   atomic.Pointer[func(stream string) Fault]
	answer atomic.Pointer[func(method string) error]

	*ledger
	cluster *Cluster // never nil
	network Network
	gate    *gate // what the node's process reads and writes goes through it

	address string // set once
	serving *grpc.Server
	state   State         // guarded by cluster.mu, as what follows
	leader  string        // the address of the leader that this node believes in; "": it knows none
	view    []member      // what this node says in gossip
	lag     time.Duration // how far behind the log the node is while it does not lead
	delay   time.Duration // how far behind its subscriptions are, whatever the node is
	changed chan struct{} // closed and replaced when the node's state changes
}

// FailWith has f say what befalls each append from now on.
func (s *Server) FailWith(f func(stream string) Fault) { s.fail.Store(&f) }

// AnswerWith has f answer calls from now on in the node's place, with a gRPC status. Where f gives nil the node answers.
// Methods are Read, BatchAppend and Gossip.
func (s *Server) AnswerWith(f func(method string) error) { s.answer.Store(&f) }

// answered is the answer given in the node's place, if there is one.
func (s *Server) answered(method string) error {
	if f := s.answer.Load(); f != nil {
		return (*f)(method)
	}
	return nil
}

// Start runs a server alone on a free port of the loopback.
func Start() (*Server, error) {
	c, err := StartCluster(TCP{}, 1, Election{})
	if err != nil {
		return nil, err
	}
	return c.Nodes[0], nil
}

func newServer(c *Cluster, network Network) *Server {
	return &Server{ledger: c.ledger, cluster: c, network: network, gate: newGate(), changed: make(chan struct{})}
}

func (s *Server) listen(address string) error {
	listener, err := s.network.Listen(address)
	if err != nil {
		return err
	}
	serving := grpc.NewServer(grpc.MaxRecvMsgSize(20<<20), grpc.ReadBufferSize(64<<10), grpc.WriteBufferSize(64<<10))
	streams.RegisterStreamsServer(serving, streamsServer{s: s})
	gossip.RegisterGossipServer(serving, gossipServer{s: s})
	s.cluster.mu.Lock()
	s.address, s.serving = listener.Addr().String(), serving
	s.cluster.mu.Unlock()
	go func() { _ = serving.Serve(s.gate.listen(listener)) }() // it ends with Stop
	return nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.address }

// ConnectionString is that of a client's.
func (s *Server) ConnectionString() string { return "esdb://" + s.Address() + "?tls=false" }

// Stop resets all connections and listens no more, as a killed process does. The log stays.
func (s *Server) Stop() {
	s.cluster.down(s, Dead)
	s.gate.set(false) // else the server waits for what is frozen
	s.gate.reset()
	s.serving.Stop()
}

// Restart listens again, at the same address. In a cluster with a leader the node follows it.
func (s *Server) Restart() error {
	if err := s.listen(s.Address()); err != nil {
		return err
	}
	s.cluster.up(s)
	return nil
}

// Freeze stops the process: nothing answers, nothing resets, until Thaw.
func (s *Server) Freeze() {
	s.gate.set(true)
	s.cluster.down(s, Frozen)
}

// Thaw lets the process go on. It finds out that others went on without it.
func (s *Server) Thaw() {
	s.cluster.up(s)
	s.gate.set(false)
}

// CutOff takes the node's connections to the other nodes away, but not those to clients, until Join.
func (s *Server) CutOff() { s.cluster.down(s, CutOff) }

// Join gives the node its connections back.
func (s *Server) Join() { s.cluster.up(s) }

// Lag makes the node show, while it does not lead, only what is that old.
func (s *Server) Lag(d time.Duration) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	s.lag = d
}

// Delay makes the node's subscriptions bring only what is that old.
func (s *Server) Delay(d time.Duration) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	s.delay = d
}

// Put appends an event past all protocol, as another program would.
func (s *Server) Put(stream, eventType string, data, custom []byte) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.put(stream, &shared.UUID{Value: &shared.UUID_String_{String_: fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.events))}},
		map[string]string{"type": eventType, "content-type": "application/json"}, custom, data, time.Now())
	s.tell()
}

// Metadata is what was set as a stream's metadata, oldest first.
func (s *Server) Metadata(stream string) (set []string) {
	events, _ := s.stream("$$"+stream, 0)
	for _, e := range events {
		set = append(set, string(e.data))
	}
	return set
}

type gossipServer struct {
	gossip.UnimplementedGossipServer
	s *Server
}

// Read implements gossip.GossipServer: what this node believes, which may be old.
func (h gossipServer) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	if err := h.s.answered("Gossip"); err != nil {
		return nil, err
	}
	h.s.cluster.mu.Lock()
	defer h.s.cluster.mu.Unlock()
	info := &gossip.ClusterInfo{}
	for _, m := range h.s.view {
		host, port, err := net.SplitHostPort(m.address)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		info.Members = append(info.Members, &gossip.MemberInfo{State: m.state.gossiped(), IsAlive: m.alive, HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(n)}})
	}
	return info, nil
}

// ledger is the log that all nodes share: what was committed.
type ledger struct {
	mu      sync.Mutex
	events  []event
	streams map[string][]int // indexes into events
	grown   chan struct{}    // closed and replaced when events come
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

func newLedger() *ledger {
	return &ledger{streams: make(map[string][]int), grown: make(chan struct{})}
}

func (l *ledger) put(stream string, id *shared.UUID, meta map[string]string, custom, data []byte, now time.Time) *event {
	e := event{id: id, stream: stream, revision: uint64(len(l.streams[stream])), position: 512, created: now, metadata: meta, custom: custom, data: data}
	if n := len(l.events); n > 0 { // positions are places in a file
		last := &l.events[n-1]
		e.position = last.position + 128 + uint64(len(last.data)+len(last.custom))
		if e.created.Before(last.created) {
			e.created = last.created
		}
	}
	e.metadata["created"] = strconv.FormatInt(e.created.UnixNano()/100, 10)
	l.streams[stream] = append(l.streams[stream], len(l.events))
	l.events = append(l.events, e)
	return &l.events[len(l.events)-1]
}

func (l *ledger) tell() {
	close(l.grown)
	l.grown = make(chan struct{})
}
