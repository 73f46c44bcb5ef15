package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// delivering is a cluster in this process, of which the leader delivers.
type delivering struct {
	t       *testing.T
	nodes   map[string]*deliveringNode // those that run
	members map[string]string
	folders map[string]string
	publish []string

	mu  sync.Mutex
	got []string // ids of the events that came to the target, in order
}

type deliveringNode struct {
	store *raftstore.Store
	*deliveries
	stop func()
}

func newDelivering(t *testing.T, publish ...string) *delivering {
	d := &delivering{t: t, nodes: map[string]*deliveringNode{}, members: map[string]string{}, folders: map[string]string{}, publish: publish}
	for _, name := range []string{"n1", "n2", "n3"} {
		d.members[name], d.folders[name] = freeAddress(t), t.TempDir()
	}
	t.Cleanup(func() {
		for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
			d.nodes[name].stop()
		}
	})
	return d
}

// start starts nodes, and waits until they deliver when they lead.
func (d *delivering) start(names ...string) {
	d.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	for _, name := range names {
		data := d.folders[name]
		store, err := raftstore.Open(raftstore.Config{
			Node: name, Members: d.members, Dir: data, Tick: 20 * time.Millisecond,
			Notes: func() ([]pebblestore.Note, error) { return notesOf(data, d.publish, quiet) },
		})
		if err != nil {
			d.t.Fatal(err)
		}
		d.nodes[name] = &deliveringNode{store: store, stop: func() {}}
	}
	for _, name := range names {
		node := d.nodes[name]
		within, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
		defer cancel()
		if err := node.store.Ready(within); err != nil {
			d.t.Fatal(err)
		}
		b := &backend{Store: node.store, id: node.store.ID(), cluster: node.store}
		var err error
		settings := settings{data: d.folders[name], publish: d.publish, webhookAllowPrivate: true}
		if node.deliveries, err = openDeliveries(d.t.Context(), settings, b, metrics.New("test").Deliveries(time.Now), quiet); err != nil {
			d.t.Fatal(err)
		}
		running, end := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() {
			if err := node.run(running, running); err != nil {
				d.t.Errorf("%s: %v", name, err)
			}
		})
		node.stop = func() {
			end()
			group.Wait()
			if err := errors.Join(node.close(), node.store.Close()); err != nil {
				d.t.Error(err)
			}
			delete(d.nodes, name)
		}
	}
}

func (d *delivering) until(what string, holds func() bool) {
	d.t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			d.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// leader waits for a node that leads, other than the one named.
func (d *delivering) leader(other string) (name string) {
	d.t.Helper()
	d.until("a leader", func() bool {
		for name = range d.nodes {
			if _, leads := d.nodes[name].store.Leads(); leads && name != other {
				return true
			}
		}
		return false
	})
	return name
}

// happen appends n events of an instance.
func (d *delivering) happen(n int) {
	d.t.Helper()
	for range n {
		d.until("an append", func() bool {
			_, err := d.nodes[d.leader("")].store.Append(d.t.Context(), nil, eventstore.AppendRequest{
				Stream: eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: "1"}),
				Events: []eventstore.EventData{{Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"ann"}`)}},
			})
			return err == nil
		})
	}
}

// recorded are the ids of the events of instances.
func (d *delivering) recorded() (ids []string) {
	d.t.Helper()
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}
	for e, err := range d.nodes[d.leader("")].store.ReadAll(d.t.Context(), eventstore.ReadAllOptions{Filter: filter}) {
		if err != nil {
			d.t.Fatal(err)
		}
		ids = append(ids, e.ID.String())
	}
	return ids
}

// target is a server that takes events. Every twentieth attempt fails.
func (d *delivering) target() string {
	attempts := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		if attempts++; attempts%20 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		d.got = append(d.got, r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusNoContent)
	}))
	d.t.Cleanup(s.Close)
	return s.URL
}

func (d *delivering) taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

// create makes a webhook at a node.
func (d *delivering) create(node, url string) {
	d.t.Helper()
	n := d.nodes[node]
	secret, err := n.NewSecret("")
	var sealed, target []byte
	if err == nil {
		sealed, err = n.Seal(secret)
	}
	if err == nil {
		target, err = n.SealURL(url)
	}
	if err == nil {
		_, err = n.commands.Create(d.t.Context(), commands.Caller{Actor: "ann"}, domain.CreateWebhook{Spec: domain.WebhookSpec{URL: url}, Secret: sealed, Target: target})
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// firsts are the ids in the order in which they came first.
func firsts(got []string) (ids []string) {
	seen := map[string]bool{}
	for _, id := range got {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

func TestTheLeaderDeliversAndTheNextOneGoesOn(t *testing.T) {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go broker.Start()
	defer func() { broker.Shutdown(); broker.WaitForShutdown() }()
	if !broker.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	d := newDelivering(t, broker.ClientURL()+"/rollcall?service=web")
	d.start("n1", "n2", "n3")
	d.create("n2", d.target())
	d.happen(40)
	for range 2 { // the lead moves while events are delivered
		before := len(d.taken())
		d.until("deliveries", func() bool { return len(d.taken()) > before })
		leader := d.leader("")
		if err := d.nodes[leader].store.Transfer(t.Context(), ""); err != nil {
			t.Log(err) // the test goes on with the same leader
		}
		d.happen(20)
	}
	stopped := d.leader("")
	d.nodes[stopped].stop()
	d.happen(20)
	want := d.recorded()
	d.until("all events", func() bool { return len(firsts(d.taken())) == len(want) })
	if got := firsts(d.taken()); !slices.Equal(got, want) {
		t.Errorf("the events came in the order %v, want %v", got, want)
	}
	conn, err := nats.Connect(broker.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	sub, err := js.SubscribeSync("rollcall", nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	var published []string
	for len(published) < len(want) {
		m, err := sub.NextMsg(2 * time.Minute)
		if err != nil {
			t.Fatalf("after %d of %d events the broker has no more: %v", len(published), len(want), err)
		}
		var e struct{ ID string }
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		published = append(published, e.ID)
	}
	if !slices.Equal(published, want) {
		t.Errorf("the broker has %v, want %v", published, want)
	}
}

// What is delivered, and noted as such, does not come again from the next leader.
func TestTheNextLeaderDeliversOnlyWhatIsNotNoted(t *testing.T) {
	d := newDelivering(t)
	d.start("n1", "n2", "n3")
	d.create("n1", d.target())
	d.happen(10)
	d.until("the first events", func() bool { return len(firsts(d.taken())) == 10 })
	leader := d.leader("")
	d.until("notes", func() bool {
		notes, err := leading{store: d.nodes[leader].store}.Notes(t.Context(), "webhook/")
		if err != nil {
			t.Fatal(err)
		}
		idle, followed := 0, struct{ Position wire.Position }{}
		for name, text := range notes {
			var r struct{ Idle bool }
			if name == "webhook/" {
				err = json.Unmarshal(text, &followed)
			} else if err = json.Unmarshal(text, &r); r.Idle {
				idle++
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return idle == 1 && followed.Position.Number >= 10
	})
	before := len(d.taken())
	d.nodes[leader].stop()
	d.happen(1)
	d.until("the event", func() bool { return len(firsts(d.taken())) == 11 })
	if got := len(d.taken()) - before; got != 1 {
		t.Errorf("the next leader delivered %d events, want 1", got)
	}
}

// What a registry alone has delivered, its cluster does not deliver again, and nor does the node that has left it.
func TestDeliveriesGoOnInAClusterAndAfterIt(t *testing.T) {
	alone, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
	checkpoints, err := stream.OpenCheckpoints(consumersFolder(alone))
	if err != nil {
		t.Fatal(err)
	}
	broker := "nats://127.0.0.1:4222/rollcall"
	name := stream.CheckpointName("broker-"+broker, "events")
	if err := checkpoints.Save(name, wire.Position{Number: 7}); err != nil {
		t.Fatal(err)
	}
	seed := collected{"webhook/": []byte(`{"position":"12"}`), "webhook/w": []byte(`{"webhook":"w","begun":3,"position":"9"}`)}
	file, err := webhooks.OpenPositions(positionsFile(alone), nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := webhooks.OpenShared(t.Context(), seed)
	if err == nil {
		err = errors.Join(shared.CopyTo(file), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	notes, err := notesOf(alone, []string{broker}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	found := noteMap(notes)
	for name, want := range seed {
		if string(found[name]) != string(want) {
			t.Errorf("the cluster has the note %s: %s, want %s", name, found[name], want)
		}
	}
	store, err := pebblestore.Open(filepath.Join(t.TempDir(), "events"), pebblestore.Options{Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Apply(nil, &pebblestore.Block{At: 1, Mark: []byte("1"), Notes: notes}); err != nil {
		t.Fatal(err)
	}
	left := t.TempDir()
	if err := takeNotes(left, store); err != nil {
		t.Fatal(err)
	}
	again, err := notesOf(left, []string{broker}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%s", again), fmt.Sprintf("%s", notes); got != want {
		t.Errorf("the node that left has %s, want %s", got, want)
	}
}
