// Package esdbtest is an EventStoreDB for tests: an in-process gRPC server that speaks the part of the
// Streams protocol that package esdbstore uses, over a log in memory, and fails on demand.
//
// It does not imitate: persistence (its log is gone with it), replication and elections (its gossip
// names one member), authentication, access control, stream deletion and scavenging, links and
// projections, persistent subscriptions, transactions. Of stream metadata it honours $maxAge, on reads.
package esdbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
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

// Append implements streams.StreamsServer.
func (h streamsServer) Append(call streams.Streams_AppendServer) error {
	first, err := call.Recv()
	if err != nil {
		return err
	}
	opts := first.GetOptions()
	if opts == nil {
		return status.Error(codes.InvalidArgument, "options must come first")
	}
	var proposed []*streams.AppendReq_ProposedMessage
	for {
		m, err := call.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		proposed = append(proposed, m.GetProposedMessage())
	}
	stream := string(opts.GetStreamIdentifier().GetStreamName())
	fault := None
	if h.s.Fail != nil && !strings.HasPrefix(stream, "$") {
		fault = h.s.Fail(stream)
	}
	switch fault {
	case DropBefore:
		return status.Error(codes.Unavailable, "connection lost")
	case PastDue:
		return status.Error(codes.DeadlineExceeded, "too late")
	case AccessDenied:
		return status.Error(codes.PermissionDenied, "access denied")
	case NotLeader:
		host, port, _ := net.SplitHostPort(h.s.Address())
		call.SetTrailer(metadata.Pairs("exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port))
		return status.Error(codes.NotFound, "not leader")
	case SlowNode:
		time.Sleep(300 * time.Millisecond)
	}
	resp := h.s.append(stream, opts, proposed)
	if fault == DropAfter {
		return status.Error(codes.Unavailable, "connection lost")
	}
	return call.SendAndClose(resp)
}

// append commits, or finds that the same events stand there already, or refuses.
func (s *Server) append(stream string, opts *streams.AppendReq_Options, proposed []*streams.AppendReq_ProposedMessage) *streams.AppendResp {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.streams[stream]
	if first, ok := s.repeated(have, opts, proposed); ok {
		return success(&s.events[have[first+len(proposed)-1]])
	}
	holds := true
	switch expected := opts.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_NoStream:
		holds = len(have) == 0
	case *streams.AppendReq_Options_StreamExists:
		holds = len(have) > 0
	case *streams.AppendReq_Options_Revision:
		holds = uint64(len(have)) == expected.Revision+1
	}
	if !holds {
		return wrongVersion(len(have), opts)
	}
	now := time.Now()
	var last *event
	for _, p := range proposed {
		last = s.put(stream, p.GetId(), p.GetMetadata(), p.GetCustomMetadata(), p.GetData(), now)
	}
	s.tell()
	return success(last)
}

// repeated finds the events of a retried append where it would have put them.
func (s *Server) repeated(have []int, opts *streams.AppendReq_Options, proposed []*streams.AppendReq_ProposedMessage) (first int, ok bool) {
	switch expected := opts.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_NoStream:
		first = 0
	case *streams.AppendReq_Options_Revision:
		first = int(expected.Revision) + 1
	default:
		first = len(have) - len(proposed)
	}
	if first < 0 || first+len(proposed) > len(have) || len(proposed) == 0 {
		return 0, false
	}
	for i, p := range proposed {
		if s.events[have[first+i]].id.String() != p.GetId().String() {
			return 0, false
		}
	}
	return first, true
}

func success(e *event) *streams.AppendResp {
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: e.revision},
		PositionOption:        &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: e.position, PreparePosition: e.position}},
	}}}
}

func wrongVersion(have int, opts *streams.AppendReq_Options) *streams.AppendResp {
	w := &streams.AppendResp_WrongExpectedVersion{}
	if have == 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &shared.Empty{}}
	} else {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(have - 1)}
	}
	switch expected := opts.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_NoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &shared.Empty{}}
	case *streams.AppendReq_Options_StreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &shared.Empty{}}
	case *streams.AppendReq_Options_Revision:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: expected.Revision}
	default:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: &shared.Empty{}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: w}}
}

// snapshot is what stands now; it never changes.
func (s *Server) snapshot() (events []event, grown chan struct{}, stopping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[:len(s.events):len(s.events)], s.grown, s.stopping
}

func (s *Server) stream(name string) (events []event, maxAge time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.streams[name] {
		events = append(events, s.events[i])
	}
	if meta := s.streams["$$"+name]; len(meta) > 0 {
		var m struct {
			MaxAge int64 `json:"$maxAge"`
		}
		if json.Unmarshal(s.events[meta[len(meta)-1]].data, &m) == nil {
			maxAge = time.Duration(m.MaxAge) * time.Second
		}
	}
	return events, maxAge
}

// Read implements streams.StreamsServer.
func (h streamsServer) Read(req *streams.ReadReq, call streams.Streams_ReadServer) error {
	opts := req.GetOptions()
	if opts.GetSubscription() != nil {
		return h.s.subscribe(opts, call)
	}
	backwards := opts.GetReadDirection() == streams.ReadReq_Options_Backwards
	var events []event
	if o := opts.GetStream(); o != nil {
		name := string(o.GetStreamIdentifier().GetStreamName())
		all, maxAge := h.s.stream(name)
		if len(all) == 0 {
			return call.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: o.GetStreamIdentifier()}}})
		}
		from, fromEnd := o.GetRevision(), o.GetEnd() != nil
		for _, e := range all {
			old := maxAge > 0 && time.Since(e.created) > maxAge
			if !old && (backwards && (fromEnd || e.revision <= from) || !backwards && !fromEnd && e.revision >= from) {
				events = append(events, e)
			}
		}
	} else {
		all, _, _ := h.s.snapshot()
		o := opts.GetAll()
		from, fromEnd := o.GetPosition().GetCommitPosition(), o.GetEnd() != nil
		for _, e := range all { // backwards, the position itself is not included; forwards it is
			if backwards && (fromEnd || e.position < from) || !backwards && !fromEnd && e.position >= from {
				events = append(events, e)
			}
		}
	}
	count := opts.GetCount()
	for i := range events {
		if uint64(i) == count {
			return nil
		}
		e := &events[i]
		if backwards {
			e = &events[len(events)-1-i]
		}
		if err := call.Send(e.resp()); err != nil {
			return err
		}
	}
	return nil
}

func (e *event) resp() *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: e.id, StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(e.stream)}, StreamRevision: e.revision,
			PreparePosition: e.position, CommitPosition: e.position, Metadata: e.metadata, CustomMetadata: e.custom, Data: e.data,
		},
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: e.position},
	}}}
}

// subscribe catches up from a position of $all and goes on live.
func (s *Server) subscribe(opts *streams.ReadReq_Options, call streams.Streams_ReadServer) error {
	all := opts.GetAll()
	if all == nil {
		return status.Error(codes.Unimplemented, "subscriptions to single streams are not imitated")
	}
	match, err := matcher(opts.GetFilter())
	if err != nil {
		return err
	}
	if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: "s"}}}); err != nil {
		return err
	}
	after := all.GetPosition().GetCommitPosition() // exclusive
	events, _, _ := s.snapshot()
	next := 0
	if all.GetEnd() != nil {
		next = len(events)
	}
	every := int(opts.GetFilter().GetMax() * opts.GetFilter().GetCheckpointIntervalMultiplier())
	looked, caughtUp := 0, false
	for {
		events, grown, stopping := s.snapshot()
		if stopping {
			return status.Error(codes.Unavailable, "the node stops")
		}
		for ; next < len(events); next++ {
			e := &events[next]
			if e.position <= after && all.GetPosition() != nil {
				continue
			}
			looked++
			if match(e) {
				if err := call.Send(e.resp()); err != nil {
					return err
				}
			}
			if every > 0 && looked%every == 0 {
				if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: e.position, PreparePosition: e.position}}}); err != nil {
					return err
				}
			}
		}
		if !caughtUp {
			caughtUp = true
			if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}}); err != nil {
				return err
			}
		}
		select {
		case <-grown:
		case <-call.Context().Done():
			return call.Context().Err()
		}
	}
}

func matcher(filter *streams.ReadReq_Options_FilterOptions) (func(*event) bool, error) {
	if filter == nil {
		return func(*event) bool { return true }, nil
	}
	expression, of := filter.GetStreamIdentifier(), func(e *event) string { return e.stream }
	if expression == nil {
		expression, of = filter.GetEventType(), func(e *event) string { return e.metadata["type"] }
	}
	pattern, err := regexp.Compile(strings.ReplaceAll(expression.GetRegex(), `^[^\$]`, `^[^$]`))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return func(e *event) bool {
		for _, prefix := range expression.GetPrefix() {
			if strings.HasPrefix(of(e), prefix) {
				return true
			}
		}
		return len(expression.GetPrefix()) == 0 && pattern.MatchString(of(e))
	}, nil
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
