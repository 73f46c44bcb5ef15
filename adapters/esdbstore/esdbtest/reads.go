package esdbtest

import (
	"encoding/json"
	"errors"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// shown is how far behind the log this node is.
func (s *Server) shown() (lag time.Duration, changed chan struct{}, state State) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	if s.state != Leader {
		lag = s.lag
	}
	return lag, s.changed, s.state
}

// followed is how far behind the log this node's subscriptions are.
func (s *Server) followed() (lag time.Duration, changed chan struct{}, state State) {
	lag, changed, state = s.shown()
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return max(lag, s.delay), changed, state
}

// snapshot is what stands and is as old as the lag; it never changes.
func (l *ledger) snapshot(lag time.Duration) (events []event, grown chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return behind(l.events[:len(l.events):len(l.events)], lag), l.grown
}

func behind(events []event, lag time.Duration) []event {
	for lag > 0 && len(events) > 0 && time.Since(events[len(events)-1].created) < lag {
		events = events[:len(events)-1]
	}
	return events
}

func (l *ledger) stream(name string, lag time.Duration) (events []event, maxAge time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.streams[name] {
		events = append(events, l.events[i])
	}
	if meta := l.streams["$$"+name]; len(meta) > 0 {
		var m struct {
			MaxAge int64 `json:"$maxAge"`
		}
		if json.Unmarshal(l.events[meta[len(meta)-1]].data, &m) == nil {
			maxAge = time.Duration(m.MaxAge) * time.Second
		}
	}
	return behind(events, lag), maxAge
}

// Read implements streams.StreamsServer.
func (h streamsServer) Read(req *streams.ReadReq, call streams.Streams_ReadServer) error {
	if err := h.s.answered("Read"); err != nil {
		return err
	}
	if err := h.s.admit(call, false); errors.Is(err, errLost) {
		<-call.Context().Done()
		return call.Context().Err()
	} else if err != nil {
		return err
	}
	opts := req.GetOptions()
	if opts.GetSubscription() != nil {
		return h.s.subscribe(opts, call)
	}
	lag, _, _ := h.s.shown()
	backwards := opts.GetReadDirection() == streams.ReadReq_Options_Backwards
	var events []event
	if o := opts.GetStream(); o != nil {
		name := string(o.GetStreamIdentifier().GetStreamName())
		all, maxAge := h.s.stream(name, lag)
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
		events = allOf(opts.GetAll(), h.s.ledger, lag, backwards)
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

// allOf is the part of $all that a read asks for. Backwards, its position is not included; forwards it is.
func allOf(o *streams.ReadReq_Options_AllOptions, l *ledger, lag time.Duration, backwards bool) []event {
	all, _ := l.snapshot(lag)
	from := o.GetPosition().GetCommitPosition()
	first := sort.Search(len(all), func(i int) bool { return all[i].position >= from })
	switch {
	case backwards && o.GetEnd() != nil:
		return all
	case backwards:
		return all[:first]
	case o.GetEnd() != nil:
		return nil
	}
	return all[first:]
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
	lag, changed, _ := s.followed()
	events, _ := s.snapshot(lag)
	next := 0
	if all.GetEnd() != nil {
		next = len(events)
	}
	every := int(opts.GetFilter().GetMax() * opts.GetFilter().GetCheckpointIntervalMultiplier())
	looked, caughtUp := 0, false
	for {
		events, grown := s.snapshot(lag)
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
		var later <-chan time.Time
		if lag > 0 {
			later = time.After(lag / 2)
		}
		select {
		case <-grown:
		case <-later:
		case <-changed:
			var state State
			if lag, changed, state = s.followed(); state == Dead {
				return status.Error(codes.Unavailable, "the node stops")
			}
			if state < Frozen {
				continue
			}
			select { // frozen
			case <-changed:
				lag, changed, _ = s.followed()
			case <-call.Context().Done():
				return call.Context().Err()
			}
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
