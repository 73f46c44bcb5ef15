package raftstore

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// every is requests of every form.
func every() []eventstore.AppendRequest {
	beat := eventstore.EventData{Type: "HeartbeatReceived", Data: []byte(`{"epoch":7}`), Metadata: []byte(`{"schema":1}`)}
	other := eventstore.EventData{ID: uuid.UUID{1, 2}, Type: "InstanceUpdated", Data: []byte(`{}`), Metadata: []byte(`{"schema":2}`)}
	return []eventstore.AppendRequest{
		{Stream: "registry", Events: []eventstore.EventData{other, beat}, Together: true},
		{Stream: "guard-a", Expected: eventstore.NoStream(), Events: []eventstore.EventData{other, other}},
		{StreamNumber: 9, Expected: eventstore.StreamExists(), Other: eventstore.Exactly(300), Events: []eventstore.EventData{beat, beat}},
		{Stream: "heartbeat-a/b/c", Expected: eventstore.Exactly(0), Other: eventstore.NoStream(), Term: 12, Events: []eventstore.EventData{beat}},
	}
}

func TestABlockIsReadAsItWasWritten(t *testing.T) {
	of := origin{node: 1, incarnation: 2, number: 3}
	body := appendOrigin(nil, of)
	body = append(body, encodeRequests(every())...)
	body = append(body, encodeRequests(every()[1:2])...)
	got, err := decodeRequests(body, nil, new([]eventstore.EventData))
	if want := append(every(), every()[1]); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it was read as\n%+v, %v, but was written as\n%+v", got, err, want)
	}
	again := renumber(body, 8)
	if of, err := decodeOrigin(again); err != nil || of.number != 8 || of.incarnation != 2 || bytes.Equal(again, body) {
		t.Errorf("with another number its origin is %s, %v", of, err)
	}
	for n := range body {
		if _, err := decodeOrigin(body[:n]); err == nil && n > numberAt+8 {
			if _, err := decodeRequests(body[:n], nil, new([]eventstore.EventData)); err == nil && n != len(body)-len(encodeRequests(every()[1:2])) {
				t.Errorf("its first %d bytes can be read", n)
			}
		}
	}
}

func TestAMarkIsReadAsItWasWritten(t *testing.T) {
	m := mark{
		cluster: uuid.New(), index: 300, term: 4, time: -5, writers: map[uint64]origin{7: {7, 1, 900}, 2: {2, 3, 4}},
		conf: &raftpb.ConfState{Voters: []uint64{7}, Learners: []uint64{2}}, members: map[uint64]member{7: {7, "n1", "a"}, 2: {2, "n2", "b"}}, removed: []uint64{5}, rules: 3,
	}
	got, err := decodeMark(m.encode())
	if err != nil || !bytes.Equal(got.encode(), m.encode()) || !reflect.DeepEqual(got.writers, m.writers) || !reflect.DeepEqual(got.members, m.members) || !got.learner(2) || got.rules != 3 {
		t.Errorf("it was read as %+v, %v", got, err)
	}
}

// No bytes make a node panic.
func FuzzEntry(f *testing.F) {
	f.Add(stamp(unstamped(append(appendOrigin(nil, origin{1, 2, 3}), encodeRequests(every())...)), 1, 5))
	f.Add(stamp(unstamped(encodeTrim(7)), 1, 5))
	f.Add(stamp(unstamped(encodeRules(2)), 2, 5))
	f.Add(stamp(unstamped(encodeNotes(origin{1, 2, 3}, []pebblestore.Note{{Name: "a", Value: []byte("b")}, {Name: "c"}})), 1, 5))
	f.Add((&mark{conf: &raftpb.ConfState{}, members: map[uint64]member{1: {1, "n1", "a"}}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decodeMark(data)
		_, _, body, err := unstamp(data)
		if err != nil {
			return
		}
		if _, err := decodeOrigin(body); err == nil {
			_, _ = decodeRequests(body, nil, new([]eventstore.EventData))
		}
		if body[0] == bodyTrim {
			_, _ = decodeTrim(body)
		}
		if body[0] == bodyRules {
			_, _ = decodeRules(body)
		}
		if body[0] == bodyNotes {
			_, _, _ = decodeNotes(body)
		}
	})
}
