package stream_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// fleet is a store with a registration and a heartbeat of three instances: positions 1 to 6.
func fleet(t *testing.T) eventstore.Store {
	t.Helper()
	store := eventstoretest.NewMemory()
	for _, key := range []domain.Key{
		{Namespace: "default", Service: "web", ID: "a"}, {Namespace: "default", Service: "web", ID: "a1"}, {Namespace: "shop", Service: "web", ID: "a"},
	} {
		put(t, store, eventstore.LifecycleStream(key), domain.TypeInstanceRegistered)
		put(t, store, eventstore.HeartbeatStream(key), domain.TypeHeartbeatReceived)
	}
	return store
}

func put(t *testing.T, store eventstore.Store, name eventstore.StreamName, eventType string) {
	t.Helper()
	event := eventstore.EventData{Type: eventType, Data: []byte(`{}`), Metadata: []byte(`{}`)}
	if _, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: name, Events: []eventstore.EventData{event}}); err != nil {
		t.Fatal(err)
	}
}

func TestATopicDeliversWhatItNames(t *testing.T) {
	for topic, want := range map[string]string{
		"events":                                    "1 3 5",
		"events?heartbeats=true":                    "1 2 3 4 5 6",
		"events?type=HeartbeatReceived":             "2 4 6",
		"events?type=HeartbeatReceived&service=web": "2 4",
		"events?type=HeartbeatReceived,InstanceRegistered&ns=shop":     "5 6",
		"events?type=HeartbeatReceived&type=InstanceRegistered":        "1 2 3 4 5 6",
		"events?type=InstanceRegistered&heartbeats=true":               "1 3 5",
		"events?service=web&instance=a":                                "1", // not a1
		"events?service=web&instance=a&namespace=shop&heartbeats=true": "5 6",
	} {
		t.Run(topic, func(t *testing.T) {
			store := fleet(t)
			sub, err := stream.NewSubscriber(stream.Config{Source: store})
			if err != nil {
				t.Fatal(err)
			}
			messages, err := sub.Subscribe(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for range len(want)/2 + 1 {
				m := <-messages
				got += m.Metadata["position"] + " "
				m.Ack()
			}
			if got != want+" " {
				t.Errorf("it delivers %s, want %s", got, want)
			}
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestATopicThatWouldPickNothingIsRefused(t *testing.T) {
	for _, topic := range []string{
		"", "event", "events?type=Heartbeat", "events?type=", "events?colour=red", "events?heartbeats=maybe", "events?ns=UPPER",
		"events?instance=a", "events?service=we b", "events?type=WebhookCreated&service=web", "events?%zz", "events?service=web&follow=true",
	} {
		selection, err := stream.ParseTopic(topic)
		if !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%q is taken as %+v, %v", topic, selection, err)
		}
		sub, err := stream.NewSubscriber(stream.Config{Source: eventstoretest.NewMemory()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Subscribe(t.Context(), topic); err == nil {
			t.Errorf("%q is subscribed to", topic)
		}
	}
	if s, err := stream.ParseTopic("events?ns=shop&service=web"); err != nil || fmt.Sprint(s.Namespace, s.Service) != "shopweb" {
		t.Errorf("%+v, %v", s, err)
	}
}
