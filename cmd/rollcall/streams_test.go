package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// streamCopy is a subscriber's copy of the catalog, or of one service.
type streamCopy struct {
	service string        // "": all
	at      atomic.Uint64 // it was told of everything up to here
	lastID  string
	begins  uint64            // position of its first snapshot
	copy    map[string]string // key → version
	seen    []uint64          // positions of the changes it was told of
	resets  int
}

func (s *streamCopy) take(e sse.Event) error {
	position, err := strconv.ParseUint(e.LastEventID, 10, 64)
	if err != nil {
		return err
	}
	if e.Type == "change" {
		var c struct { // as little as it takes: there are a million of them
			Op, Service, ID string
			Instance        struct{ Version string }
		}
		if err := json.Unmarshal([]byte(e.Data), &c); err != nil {
			return err
		}
		key := c.Service + "/" + c.ID
		if delete(s.copy, key); c.Op == wire.Put {
			s.copy[key] = c.Instance.Version
		}
		s.seen = append(s.seen, position)
	} else {
		var all struct {
			Services  []wire.ServiceInstances
			Instances []wire.Instance
		}
		if err := json.Unmarshal([]byte(e.Data), &all); err != nil {
			return err
		}
		if s.lastID != "" {
			s.resets++
		} else {
			s.begins = position
		}
		s.copy = map[string]string{}
		for _, service := range append(all.Services, wire.ServiceInstances{Instances: all.Instances}) {
			for _, i := range service.Instances {
				s.copy[i.Service+"/"+i.ID] = i.Version
			}
		}
	}
	s.lastID = e.LastEventID
	s.at.Store(position)
	return nil
}

// follow reads the stream until it breaks or, at random, this subscriber breaks it off.
func (s *streamCopy) follow(ctx context.Context, url string, rng *rand.Rand) error {
	path := "/v1/streams/catalog"
	if s.service != "" {
		path = "/v1/streams/services/" + s.service
	}
	r, err := http.NewRequestWithContext(ctx, "GET", url+path, nil)
	if err != nil {
		return err
	}
	if s.lastID != "" {
		r.Header.Set("Last-Event-ID", s.lastID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("the stream answered %s", resp.Status)
	}
	events := 1 + rng.IntN(4000)
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxLine}) {
		if err != nil {
			return nil // the server was killed
		}
		if err := s.take(e); err != nil {
			return err
		}
		if events--; events == 0 {
			return nil
		}
	}
	return nil
}

// 200 subscribers lose their connections at random while 20,000 changes are made and the server is
// killed and started again twice. Each ends with exactly the catalog, having been told of every
// change once, in order.
func TestSubscribersMissNothingThroughKills(t *testing.T) {
	const subscribers, rounds, batch = 200, 200, 100
	data := t.TempDir()
	p := startServer(t, data)
	address := strings.TrimPrefix(p.url, "http://")
	url := p.url
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	copies := make([]streamCopy, subscribers)
	var group sync.WaitGroup
	for i := range copies {
		if i%5 > 0 { // four of five follow one service
			copies[i].service = fmt.Sprint("s", i%7)
		}
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			for ctx.Err() == nil {
				if err := copies[i].follow(ctx, url, rng); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "connect") && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
					t.Errorf("subscriber %d: %v", i, err)
					return
				}
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		if round == rounds/3 || round == 2*rounds/3 {
			_ = p.end(syscall.SIGKILL)
			p = startServer(t, data, "--listen", address)
		}
		var items []map[string]any
		for i := range batch {
			item := map[string]any{"type": "RegisterInstance", "service": fmt.Sprint("s", i%7), "id": fmt.Sprint("i", i), "address": "10.0.0.5", "version": fmt.Sprint(round), "ttl": "1h"}
			if round > 0 && rng.IntN(10) == 0 {
				item = map[string]any{"type": "DeregisterInstance", "service": fmt.Sprint("s", i%7), "id": fmt.Sprint("i", i)}
			}
			items = append(items, item)
		}
		body, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		if status, b, err := p.send("POST", "/v1/commands", string(body)); err != nil || status != 200 {
			t.Fatal(status, err, string(b))
		}
	}
	var last [7]uint64 // position of the last change, by service
	for i := range last {
		status, b, err := p.send("PUT", fmt.Sprintf("/v1/services/s%d/instances/last", i), `{"address":"10.0.0.5","ttl":"1h"}`)
		var done struct {
			Position uint64 `json:",string"`
		}
		if err != nil || status != 201 || json.Unmarshal(b, &done) != nil {
			t.Fatal(status, err, string(b))
		}
		last[i] = done.Position
	}
	deadline := time.Now().Add(60 * time.Second)
	for i := range copies {
		end := last[6]
		if copies[i].service != "" {
			end = last[i%7]
		}
		for copies[i].at.Load() < end {
			if time.Now().After(deadline) {
				t.Fatalf("subscriber %d is at %d and does not get to %d", i, copies[i].at.Load(), end)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop()
	group.Wait()

	checkCopies(t, p, copies)
}

// checkCopies holds what subscribers were told against the log.
func checkCopies(t *testing.T, p *process, copies []streamCopy) {
	t.Helper()
	_, b, err := p.send("GET", "/v1/events", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{"": {}} // service → key → version
	changes := map[string][]uint64{}             // service → positions
	for line := range bytes.Lines(b) {
		e, err := eventstore.ParseJSON(line)
		if err != nil {
			t.Fatal(err)
		}
		event, err := domain.DecodeEvent(e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := e.Stream.InstanceKey()
		for _, service := range []string{"", key.Service} {
			if want[service] == nil {
				want[service] = map[string]string{}
			}
			changes[service] = append(changes[service], uint64(e.Position))
			switch e := event.(type) {
			case domain.InstanceRegistered:
				want[service][key.Service+"/"+key.ID] = e.Version
			case domain.InstanceUpdated:
				want[service][key.Service+"/"+key.ID] = e.Version
			case domain.InstanceDeregistered:
				delete(want[service], key.Service+"/"+key.ID)
			}
		}
	}
	for i := range copies {
		c := &copies[i]
		if c.resets > 0 {
			t.Errorf("subscriber %d was reset %d times", i, c.resets)
		}
		if fmt.Sprint(c.copy) != fmt.Sprint(want[c.service]) {
			t.Errorf("subscriber %d has another catalog", i)
		}
		all := changes[c.service]
		from, _ := slices.BinarySearch(all, c.begins+1)
		if !slices.Equal(c.seen, all[from:]) {
			t.Errorf("subscriber %d was told of %d changes, want %d", i, len(c.seen), len(all)-from)
		}
	}
	if len(changes[""]) < 15_000 {
		t.Errorf("only %d changes were made", len(changes[""]))
	}
}
