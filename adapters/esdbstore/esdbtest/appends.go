package esdbtest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

type streamsServer struct {
	streams.UnimplementedStreamsServer
	s *Server
}

// errLost is no answer at all.
var errLost = errors.New("lost")

// errForward is the answer of a follower that passed an append on to a leader that is gone.
var errForward = status.Error(codes.Aborted, "Operation timed out: Forwarding timeout")

// commitTimeout is how long a leader waits for a majority to have an append.
const commitTimeout = 2 * time.Second

func requiresLeader(ctx context.Context) bool {
	m, _ := metadata.FromIncomingContext(ctx)
	return len(m.Get("requires-leader")) > 0 && m.Get("requires-leader")[0] == "true"
}

func notLeader(call grpc.ServerStream, leader string) error {
	if leader == "" {
		return status.Error(codes.Unknown, "No leader info available in response")
	}
	host, port, _ := net.SplitHostPort(leader)
	call.SetTrailer(metadata.Pairs("exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port))
	return status.Error(codes.NotFound, "Leader info available")
}

// admit says whether the node carries out a call in its present state: nil, or how it answers.
func (s *Server) admit(call grpc.ServerStream, writes bool) error {
	for {
		s.cluster.mu.Lock()
		state, leader, changed, known := s.state, s.leader, s.changed, s.cluster.leader != nil
		s.cluster.mu.Unlock()
		switch state {
		case Leader:
			return nil
		case CutOff:
			if !writes {
				return nil
			}
			select {
			case <-time.After(commitTimeout):
			case <-call.Context().Done():
			}
			return errForward
		case Electing:
			return status.Error(codes.Unavailable, "Server Is Not Ready")
		case PreLeader:
			return errLost
		case Follower:
			if requiresLeader(call.Context()) {
				return notLeader(call, leader)
			}
			if !writes || known {
				return nil
			}
			select {
			case <-time.After(s.cluster.election.Forward):
			case <-call.Context().Done():
			}
			return errForward
		}
		select { // frozen or dead: the process does nothing
		case <-changed:
		case <-call.Context().Done():
			return call.Context().Err()
		}
	}
}

// BatchAppend implements streams.StreamsServer.
func (h streamsServer) BatchAppend(call streams.Streams_BatchAppendServer) error {
	pending := map[string]*streams.BatchAppendReq{}
	for {
		m, err := call.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := h.s.answered("BatchAppend"); err != nil {
			return err
		}
		id := m.GetCorrelationId().String()
		whole := pending[id]
		if whole == nil {
			if m.GetOptions() == nil {
				return status.Error(codes.InvalidArgument, "options must come first")
			}
			whole = &streams.BatchAppendReq{CorrelationId: m.GetCorrelationId(), Options: m.GetOptions()}
			pending[id] = whole
		}
		whole.ProposedMessages = append(whole.ProposedMessages, m.GetProposedMessages()...)
		if !m.GetIsFinal() {
			continue
		}
		delete(pending, id)
		if err := h.one(call, whole); err != nil {
			return err
		}
	}
}

// one carries out one append of a batch. An error ends the batch.
func (h streamsServer) one(call streams.Streams_BatchAppendServer, req *streams.BatchAppendReq) error {
	stream := string(req.GetOptions().GetStreamIdentifier().GetStreamName())
	answer := func(code codes.Code, message string, details proto.Message) error {
		packed, err := anypb.New(details)
		if err != nil {
			return err
		}
		return call.Send(&streams.BatchAppendResp{CorrelationId: req.GetCorrelationId(), Result: &streams.BatchAppendResp_Error{
			Error: &rpcstatus.Status{Code: int32(code), Message: message, Details: []*anypb.Any{packed}},
		}})
	}
	fault := None
	if fail := h.s.fail.Load(); fail != nil && !strings.HasPrefix(stream, "$") {
		fault = (*fail)(stream)
	}
	switch fault {
	case DropBefore:
		return status.Error(codes.Unavailable, "connection lost")
	case PastDue:
		return answer(codes.DeadlineExceeded, "Timeout", &shared.Timeout{})
	case AccessDenied:
		return answer(codes.PermissionDenied, "AccessDenied", &shared.AccessDenied{})
	case NotLeader:
		return notLeader(call, h.s.Address())
	case Lost:
		return nil
	case SlowNode:
		time.Sleep(300 * time.Millisecond)
	}
	switch err := h.s.admit(call, true); {
	case err == nil:
	case errors.Is(err, errLost):
		return nil
	case errors.Is(err, errForward):
		return answer(codes.DeadlineExceeded, "Timeout", &shared.Timeout{})
	case status.Code(err) == codes.Unavailable:
		return answer(codes.OK, "Server Is Not Ready", &shared.Empty{})
	default:
		return err
	}
	success, wrong := h.s.append(stream, req)
	if fault == DropAfter {
		return status.Error(codes.Unavailable, "connection lost")
	}
	if wrong != nil {
		return answer(codes.AlreadyExists, "WrongExpectedVersion", wrong)
	}
	return call.Send(&streams.BatchAppendResp{
		CorrelationId: req.GetCorrelationId(), StreamIdentifier: req.GetOptions().GetStreamIdentifier(), Result: &streams.BatchAppendResp_Success_{Success: success},
	})
}

// append commits, or finds that the same events stand there already, or refuses.
func (l *ledger) append(stream string, req *streams.BatchAppendReq) (*streams.BatchAppendResp_Success, *shared.WrongExpectedVersion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, opts, proposed := l.streams[stream], req.GetOptions(), req.GetProposedMessages()
	if first, ok := l.repeated(have, opts, proposed); ok {
		return success(&l.events[have[first+len(proposed)-1]]), nil
	}
	holds := true
	switch expected := opts.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_NoStream:
		holds = len(have) == 0
	case *streams.BatchAppendReq_Options_StreamExists:
		holds = len(have) > 0
	case *streams.BatchAppendReq_Options_StreamPosition:
		holds = uint64(len(have)) == expected.StreamPosition+1
	}
	if !holds {
		wrong := &shared.WrongExpectedVersion{CurrentStreamRevisionOption: &shared.WrongExpectedVersion_CurrentNoStream{}}
		if len(have) > 0 {
			wrong.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(len(have) - 1)}
		}
		return nil, wrong
	}
	now := time.Now()
	var last *event
	for _, p := range proposed {
		last = l.put(stream, p.GetId(), p.GetMetadata(), p.GetCustomMetadata(), p.GetData(), now)
	}
	l.tell()
	return success(last), nil
}

// repeated finds the events of a retried append where it would have put them.
func (l *ledger) repeated(have []int, opts *streams.BatchAppendReq_Options, proposed []*streams.BatchAppendReq_ProposedMessage) (first int, ok bool) {
	switch expected := opts.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_NoStream:
		first = 0
	case *streams.BatchAppendReq_Options_StreamPosition:
		first = int(expected.StreamPosition) + 1
	default:
		first = len(have) - len(proposed)
	}
	if first < 0 || first+len(proposed) > len(have) || len(proposed) == 0 {
		return 0, false
	}
	for i, p := range proposed {
		if !proto.Equal(l.events[have[first+i]].id, p.GetId()) {
			return 0, false
		}
	}
	return first, true
}

func success(e *event) *streams.BatchAppendResp_Success {
	return &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: e.revision},
		PositionOption:        &streams.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{CommitPosition: e.position, PreparePosition: e.position}},
	}
}
