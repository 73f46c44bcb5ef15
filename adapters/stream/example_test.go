package stream_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// A Go team consumes what happens to its service with a watermill Router. Against a running registry
// the Source is stream.Remote{URL: "http://127.0.0.1:7700"}.
func ExampleNewSubscriber() {
	source := registryWithTwoEvents()

	sub, err := stream.NewSubscriber(stream.Config{Source: source})
	if err != nil {
		panic(err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		panic(err)
	}
	done := make(chan struct{})
	router.AddConsumerHandler("audit", "events?service=checkout", sub, func(m *message.Message) error {
		fmt.Println(m.Metadata["stream"], m.Metadata["type"])
		if m.Metadata["type"] == domain.TypeInstanceDeregistered {
			close(done)
		}
		return nil // acks: the next event comes
	})
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	go func() { <-done; stop() }()
	if err := router.Run(ctx); err != nil {
		panic(err)
	}
	// Output:
	// instance-default/checkout/a-1 InstanceRegistered
	// instance-default/checkout/a-1 InstanceDeregistered
}

func registryWithTwoEvents() stream.Source {
	store := eventstoretest.NewMemory()
	name := eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "checkout", ID: "a-1"})
	for _, eventType := range []string{domain.TypeInstanceRegistered, domain.TypeInstanceDeregistered} {
		if _, err := store.Append(context.Background(), nil, eventstore.AppendRequest{Stream: name, Events: []eventstore.EventData{{Type: eventType, Data: []byte(`{}`), Metadata: []byte(`{}`)}}}); err != nil {
			panic(err)
		}
	}
	return store
}
