package esdbstore

import (
	"encoding/binary"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// This file makes and reads the messages of the Streams protocol.

func joinPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

func streamName(s eventstore.StreamName) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(s)}
}

func readOptions(backwards bool) *streams.ReadReq_Options {
	o := &streams.ReadReq_Options{
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
	}
	if backwards {
		o.ReadDirection = streams.ReadReq_Options_Backwards
	}
	return o
}

// count is how many events to read; 0: all.
func count(limit int) *streams.ReadReq_Options_Count {
	if limit <= 0 {
		return &streams.ReadReq_Options_Count{Count: math.MaxInt64}
	}
	return &streams.ReadReq_Options_Count{Count: uint64(limit)}
}

func readStreamRequest(stream eventstore.StreamName, from eventstore.Revision, backwards bool, limit int) *streams.ReadReq {
	o := readOptions(backwards)
	of := &streams.ReadReq_Options_StreamOptions{StreamIdentifier: streamName(stream)}
	of.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: uint64(from)}
	if backwards && from >= eventstore.FromEnd {
		of.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
	}
	o.StreamOption, o.CountOption = &streams.ReadReq_Options_Stream{Stream: of}, count(limit)
	return &streams.ReadReq{Options: o}
}

// allFrom is a place in $all; nil is the beginning, or backwards the end.
func allFrom(from *eventstore.Position, backwards bool) *streams.ReadReq_Options_All {
	o := &streams.ReadReq_Options_AllOptions{}
	switch {
	case from != nil:
		o.AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{CommitPosition: uint64(*from), PreparePosition: uint64(*from)}}
	case backwards:
		o.AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	default:
		o.AllOption = &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}
	}
	return &streams.ReadReq_Options_All{All: o}
}

func readAllRequest(from *eventstore.Position, backwards bool, limit int) *streams.ReadReq {
	o := readOptions(backwards)
	o.StreamOption, o.CountOption = allFrom(from, backwards), count(limit)
	return &streams.ReadReq{Options: o}
}

// searchWindow is how many events the database reads between two checkpoints.
const searchWindow = 128

// subscribeRequest follows $all after a position, 0: from the beginning, in streams of the prefixes.
func subscribeRequest(after eventstore.Position, prefixes []string) *streams.ReadReq {
	o := readOptions(false)
	var from *eventstore.Position
	if after > 0 {
		from = &after
	}
	o.StreamOption = allFrom(from, false)
	o.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	filter := &streams.ReadReq_Options_FilterOptions{
		Window: &streams.ReadReq_Options_FilterOptions_Max{Max: searchWindow}, CheckpointIntervalMultiplier: 1,
	}
	if len(prefixes) > 0 {
		filter.Filter = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: prefixes}}
	} else { // all but the database's own
		filter.Filter = &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Regex: `^[^\$].*`}}
	}
	o.FilterOption = &streams.ReadReq_Options_Filter{Filter: filter}
	return &streams.ReadReq{Options: o}
}

func protoID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits: int64(binary.BigEndian.Uint64(id[:8])), LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func fromProtoID(p *shared.UUID) (id uuid.UUID) {
	if s := p.GetStructured(); s != nil {
		binary.BigEndian.PutUint64(id[:8], uint64(s.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(id[8:], uint64(s.GetLeastSignificantBits()))
		return id
	}
	id, _ = uuid.Parse(p.GetString_()) // an id of another form is no id
	return id
}

// systemMetadata is the system metadata of an event of a type. INVARIANT: nobody changes it, so messages share it.
func systemMetadata(eventType string) map[string]string {
	if m, ok := ownMetadata[eventType]; ok {
		return m
	}
	return map[string]string{"type": eventType, "content-type": "application/json"}
}

// ownMetadata is the system metadata of the most common events, so that not each of them needs a map. It never changes.
var ownMetadata = map[string]map[string]string{
	domain.TypeHeartbeatReceived: {"type": domain.TypeHeartbeatReceived, "content-type": "application/json"},
}

// maxChunk is how many bytes of events go into one message; an append of more takes several.
const maxChunk = 1 << 20

// proposal is an append request in the protocol's form, without the correlation id, which is another one for each attempt.
// INVARIANT: nobody changes the parts, so attempts share them.
type proposal struct {
	options *streams.BatchAppendReq_Options
	chunks  [][]*streams.BatchAppendReq_ProposedMessage
}

// propose gives events their ids before they are sent the first time, so that sending them again is safe.
func propose(r *eventstore.AppendRequest) (p proposal, err error) {
	p.options = &streams.BatchAppendReq_Options{StreamIdentifier: streamName(r.Stream)}
	revision, exact := r.Expected.Exact()
	switch {
	case exact:
		p.options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: uint64(revision)}
	case r.Expected.IsNoStream():
		p.options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
	case r.Expected == eventstore.StreamExists():
		p.options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamExists{StreamExists: &emptypb.Empty{}}
	default:
		p.options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}
	}
	size := 0
	chunk := make([]*streams.BatchAppendReq_ProposedMessage, 0, len(r.Events))
	for i := range r.Events {
		e := &r.Events[i]
		id := e.ID
		if id == uuid.Nil {
			if id, err = uuid.NewV7(); err != nil {
				return p, err
			}
		}
		if size += len(e.Data) + len(e.Metadata) + 128; size > maxChunk && len(chunk) > 0 {
			p.chunks, chunk, size = append(p.chunks, chunk), nil, 0
		}
		chunk = append(chunk, &streams.BatchAppendReq_ProposedMessage{
			Id: protoID(id), Metadata: systemMetadata(e.Type), Data: e.Data, CustomMetadata: withTime(e.Metadata, r.At),
		})
	}
	p.chunks = append(p.chunks, chunk)
	return p, nil
}

// messages appends the messages that one attempt sends.
func (p *proposal) messages(into []*streams.BatchAppendReq, correlation *shared.UUID) []*streams.BatchAppendReq {
	for i, chunk := range p.chunks {
		m := &streams.BatchAppendReq{CorrelationId: correlation, ProposedMessages: chunk, IsFinal: i == len(p.chunks)-1}
		if i == 0 {
			m.Options = p.options
		}
		into = append(into, m)
	}
	return into
}

// recorded is an event in the port's form; ok is false for the database's own.
func recorded(event *streams.ReadResp_ReadEvent) (e eventstore.RecordedEvent, ok bool) {
	o := event.GetEvent()
	stream := string(o.GetStreamIdentifier().GetStreamName())
	if o == nil || strings.HasPrefix(stream, "$") {
		return e, false
	}
	metadata, at := withoutTime(o.GetCustomMetadata())
	if at.IsZero() { // in steps of 100 ns since 1970
		ticks, _ := strconv.ParseInt(o.GetMetadata()["created"], 10, 64) // the database always says it
		at = time.Unix(0, ticks*100).UTC()
	}
	return eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: fromProtoID(o.GetId()), Type: o.GetMetadata()["type"], Data: o.GetData(), Metadata: metadata},
		Stream:    eventstore.StreamName(stream), Revision: eventstore.Revision(o.GetStreamRevision()),
		Position: eventstore.Position(o.GetCommitPosition()), RecordedAt: at,
	}, true
}
