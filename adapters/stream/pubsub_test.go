package stream_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// publisher appends watermill's messages as events, so that its own suite can test the subscriber.
type publisher struct{ store eventstore.Store }

func (p publisher) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		metadata, err := json.Marshal(m.Metadata)
		if err != nil {
			return err
		}
		data, err := json.Marshal(map[string]any{"uuid": m.UUID, "payload": []byte(m.Payload)})
		if err != nil {
			return err
		}
		id, err := uuid.NewRandom()
		if err != nil {
			return err
		}
		if _, err := p.store.Append(context.Background(), nil, eventstore.AppendRequest{
			Stream: eventstore.StreamName("test-" + topic + "-"), Events: []eventstore.EventData{{ID: id, Type: "Test", Data: data, Metadata: metadata}},
		}); err != nil {
			return err
		}
	}
	return nil
}

func (publisher) Close() error { return nil }

// testTopic picks the messages that were published to a topic.
type testTopic string

func (t testTopic) Filter() (eventstore.Filter, error) {
	return eventstore.Filter{StreamPrefixes: []string{"test-" + string(t) + "-"}}, nil
}

func testMessage(e *eventstore.RecordedEvent) (*message.Message, error) {
	var data struct {
		UUID    string
		Payload []byte
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, err
	}
	m := message.NewMessage(data.UUID, data.Payload)
	return m, json.Unmarshal(e.Metadata, &m.Metadata)
}

// The subscriber passes watermill's own suite over the embedded store.
func TestWatermillsOwnSuite(t *testing.T) {
	store, err := pebblestore.Open(t.TempDir(), pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	checkpoints, err := stream.OpenCheckpoints(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	group := func(t *testing.T, consumer string) (message.Publisher, message.Subscriber) {
		sub, err := stream.NewSubscriber(stream.Config{
			Source: store, Consumer: consumer, Checkpoints: checkpoints, Redelivery: time.Millisecond, SaveEvery: 50 * time.Millisecond,
			Message: testMessage, Logger: watermill.NopLogger{},
			Select: func(topic string) (stream.Selection, error) { return testTopic(topic), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		return publisher{store}, sub
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true, ForceShort: true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return group(t, "suite") }, group)
}
