package esdbtest

import (
	"io"
	"net"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

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
