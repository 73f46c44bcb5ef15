package esdbtest

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
