package brokers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/rollcall-registry/rollcall/adapters/brokers"
	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

type unobserved struct{}

func (unobserved) Waiting(time.Time) {}
func (unobserved) Attempted(string)  {}

func happen(t *testing.T, store eventstore.Store, from, to int) {
	t.Helper()
	for range to - from {
		if _, err := store.Append(t.Context(), nil, eventstore.AppendRequest{
			Stream: eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: "a"}),
			Events: []eventstore.EventData{{Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}},
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// publish runs a broker's deliveries until the test ends.
func publish(t *testing.T, store eventstore.Store, url string) {
	t.Helper()
	target, err := brokers.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	checkpoints, err := stream.OpenCheckpoints(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := stream.NewSubscriber(stream.Config{Source: store, Consumer: "broker", Checkpoints: checkpoints, Message: webhooks.NewMessage("s")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := brokers.Run(ctx, target, sub, unobserved{}, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		group.Wait()
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	})
}

// holds says whether messages are the events from 0 on, in order. One may come twice, right away.
func holds(t *testing.T, payloads [][]byte, want int) {
	t.Helper()
	next := 0
	for _, p := range payloads {
		var e cloudevents.Event
		if err := json.Unmarshal(p, &e); err != nil || e.Validate() != nil {
			t.Fatalf("%s: %v", p, err)
		}
		revision := fmt.Sprint(e.Extensions()["revision"])
		if revision == fmt.Sprint(next) {
			next++
		} else if revision != fmt.Sprint(next-1) {
			t.Fatalf("event %s came when %d was due", revision, next)
		}
	}
	if next != want {
		t.Fatalf("%d events came, want %d", next, want)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startNATS(t *testing.T, port int, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

// A real NATS server that is restarted in the middle has every event once, in order.
func TestNATSThroughARestart(t *testing.T) {
	port, dir := freePort(t), t.TempDir()
	s := startNATS(t, port, dir)
	store := eventstoretest.NewMemory()
	happen(t, store, 0, 50)
	publish(t, store, fmt.Sprintf("nats://127.0.0.1:%d/rollcall", port))
	time.Sleep(50 * time.Millisecond) // in the middle, wherever that is
	s.Shutdown()
	s.WaitForShutdown()
	happen(t, store, 50, 100)
	s = startNATS(t, port, dir)
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	happen(t, store, 100, 150)

	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		info, err := js.StreamInfo("rollcall")
		if err == nil && info.State.Msgs >= 150 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stream has %+v, %v", info, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	sub, err := js.SubscribeSync("rollcall", nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	for range 150 {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, m.Data)
	}
	holds(t, payloads, 150)
}

// A real Redis server that is restarted in the middle has every event, in order.
func TestRedisStreamThroughARestart(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is needed; make test installs it")
	}
	port, dir := freePort(t), t.TempDir()
	run := func() *exec.Cmd {
		c := exec.Command(path, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := run()
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	store := eventstoretest.NewMemory()
	happen(t, store, 0, 50)
	publish(t, store, fmt.Sprintf("redis://127.0.0.1:%d/rollcall?service=web", port))
	client := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	defer client.Close()
	wait := func(n int64) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			length, err := client.XLen(t.Context(), "rollcall").Result()
			if err == nil && length >= n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the stream has %d entries, %v", length, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	wait(10)
	_ = c.Process.Kill()
	_ = c.Wait()
	happen(t, store, 50, 100)
	c = run()
	wait(100)
	entries, err := client.XRange(t.Context(), "rollcall", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	for _, e := range entries {
		payloads = append(payloads, []byte(fmt.Sprint(e.Values["payload"])))
	}
	holds(t, payloads, 100)
}

// A broker that is to get heartbeats gets them, and nothing else.
func TestHeartbeatsArePublished(t *testing.T) {
	s := startNATS(t, freePort(t), t.TempDir())
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	store := eventstoretest.NewMemory()
	happen(t, store, 0, 3)
	for range 2 {
		if _, err := store.Append(t.Context(), nil, eventstore.AppendRequest{
			Stream: eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "web", ID: "a"}),
			Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sub, err := conn.SubscribeSync("beats")
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	publish(t, store, s.ClientURL()+"/beats?type=HeartbeatReceived")
	var payloads [][]byte
	for range 2 {
		m, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data), "HeartbeatReceived") {
			t.Errorf("%s is published", m.Data)
		}
		payloads = append(payloads, m.Data)
	}
	holds(t, payloads, 2)
}

func TestBadTargetsAreRefused(t *testing.T) {
	for _, s := range []string{"", "kafka://host/topic", "nats://host", "nats:///subject", "redis://host/", "nats://host/a b", "nats://host/a.*", "://"} {
		if _, err := brokers.Parse(s); err == nil {
			t.Errorf("%q passes", s)
		}
	}
	target, err := brokers.Parse("nats://user:pw@host:4222/rollcall.events?service=web")
	if err != nil || target.Topic != "rollcall.events" || target.Events() != "events?service=web" || strings.Contains(target.URL, "pw") {
		t.Errorf("%+v, %v", target, err)
	}
}
