package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// runningRegistry stands for a registry, so that the examples run.
func runningRegistry(replies map[string]string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Rollcall-Position", "1")
		reply, known := replies[r.Method+" "+r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			reply = `{"type":"urn:rollcall:problem:unknown-instance","status":404,"detail":"instance default/checkout/a-1 is not registered"}`
		}
		if strings.HasPrefix(r.URL.Path, "/v1/streams/") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, reply)
	}))
}

func ExampleNew() {
	server := runningRegistry(map[string]string{
		"GET /v1/services/checkout/instances": `{"instances":[{"id":"a-1","address":"10.0.0.5","ports":{"http":8080}}]}`,
	})
	defer server.Close()

	registry, err := client.New(server.URL, client.Options{}) // http://127.0.0.1:7700
	if err != nil {
		panic(err)
	}
	ready := client.InstancesQuery{InstanceFilter: client.InstanceFilter{Ready: true}}
	list, err := registry.Instances(context.Background(), domain.ServiceKey{Service: "checkout"}, ready)
	if err != nil {
		panic(err)
	}
	for _, i := range list.Value.Instances {
		fmt.Printf("%s is at %s:%d\n", i.ID, i.Address, i.Ports["http"])
	}
	// Output: a-1 is at 10.0.0.5:8080
}

func ExampleClient_Register() {
	server := runningRegistry(map[string]string{
		"PUT /v1/services/checkout/instances/a-1": `{"namespace":"default","service":"checkout","id":"a-1","position":"1","epoch":1}`,
	})
	defer server.Close()
	registry, err := client.New(server.URL, client.Options{})
	if err != nil {
		panic(err)
	}

	key := domain.Key{Service: "checkout", ID: "a-1"}
	done, err := registry.Register(context.Background(), key, domain.Details{
		Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}, Weight: domain.DefaultWeight, Status: domain.Passing, TTL: domain.Duration(domain.DefaultTTL),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("registered in epoch", done.Value.Epoch)
	// Output: registered in epoch 1
}

// A refusal says why, for people and for programs.
func ExampleClient_Heartbeat() {
	server := runningRegistry(nil)
	defer server.Close()
	registry, err := client.New(server.URL, client.Options{})
	if err != nil {
		panic(err)
	}

	_, err = registry.Heartbeat(context.Background(), domain.Key{Service: "checkout", ID: "a-1"})
	var refused *wire.Problem
	if errors.As(err, &refused) && refused.Type == wire.UnknownInstance {
		fmt.Println("register again:", refused.Detail)
	}
	// Output: register again: instance default/checkout/a-1 is not registered
}

// A load balancer keeps a copy of the instances that may get traffic.
func ExampleClient_Follow() {
	server := runningRegistry(map[string]string{"GET /v1/streams/services/checkout": "id: 4\nevent: snapshot\n" +
		`data: {"instances":[{"namespace":"default","service":"checkout","id":"a-1"}]}` + "\n\nid: 5\nevent: change\n" +
		`data: {"op":"put","namespace":"default","service":"checkout","id":"a-2","instance":{"namespace":"default","service":"checkout","id":"a-2"}}` + "\n\n"})
	defer server.Close()
	registry, err := client.New(server.URL, client.Options{})
	if err != nil {
		panic(err)
	}

	pool := map[domain.Key]wire.Instance{}
	query := client.FollowQuery{Service: domain.ServiceKey{Service: "checkout"}, InstanceFilter: client.InstanceFilter{Ready: true}}
	for update, err := range registry.Follow(context.Background(), query) {
		if err != nil {
			panic(err)
		}
		update.Apply(pool)
		fmt.Println(update.Kind, len(pool))
		if len(pool) == 2 {
			return
		}
	}
	// Output:
	// snapshot 1
	// change 2
}

func ExampleClient_Events() {
	server := runningRegistry(map[string]string{"GET /v1/events": line(7) + "\n" + line(8) + "\n"})
	defer server.Close()
	registry, err := client.New(server.URL, client.Options{})
	if err != nil {
		panic(err)
	}

	for e, err := range registry.Events(context.Background(), client.EventQuery{Service: "web", From: "1h ago"}) {
		if err != nil {
			panic(err) // the transfer broke off: what came is not all
		}
		typed, err := e.Typed()
		if err != nil {
			panic(err)
		}
		if changed, ok := typed.(domain.HealthChanged); ok {
			fmt.Println(e.Position, e.Stream, changed.To)
		}
	}
	// Output:
	// 7 instance-default/web/a critical
	// 8 instance-default/web/a critical
}

func ExampleClient_HistoryEntries() {
	server := runningRegistry(map[string]string{
		"GET /v1/services/checkout/instances/a-1/history": `{"entries":[{"position":"9","type":"InstanceDeregistered","summary":"deregistered: scaled down","actor":"deploy-bot"}]}`,
	})
	defer server.Close()
	registry, err := client.New(server.URL, client.Options{})
	if err != nil {
		panic(err)
	}

	for e, err := range registry.HistoryEntries(context.Background(), client.HistoryQuery{Instance: domain.Key{Service: "checkout", ID: "a-1"}}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, by %s\n", e.Summary, e.Actor)
	}
	// Output: deregistered: scaled down, by deploy-bot
}

func ExampleClient_Keep() {
	registry := clienttest.New().Client(client.Options{}) // client.New("http://127.0.0.1:7700", client.Options{})
	ctx, shutdown := context.WithCancel(context.Background())
	kept, err := registry.Keep(ctx, client.Registration{
		Key:     domain.Key{Service: "checkout", ID: "a-1"},
		Details: domain.Details{Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}},
		Reason:  "checkout is deployed anew",
	})
	if err != nil {
		panic(err)
	}
	if err := kept.WaitRegistered(ctx); err != nil {
		panic(err)
	}
	fmt.Println(kept.Key, "is", kept.State().Phase)
	shutdown()
	<-kept.Done()
	fmt.Println(kept.Key, "has", kept.State().Phase)
	// Output:
	// default/checkout/a-1 is registered
	// default/checkout/a-1 has ended
}
