package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// clusterOp is what a client asks of one instance of a cluster.
type clusterOp struct {
	kind     string // register, create, update, heartbeat, deregister or read
	id       string
	version  string // of a registration
	expected uint64 // revision, of an update
}

// clusterTold is what a client was told: done, refused or unknown; of a read live or gone.
type clusterTold struct {
	what            string
	epoch, revision uint64
	version         string
}

// clusterState is an instance as clients see it.
type clusterState struct {
	live          bool
	epoch, events uint64
	version       string
}

func (s clusterState) after(op clusterOp) (next clusterState, done bool) {
	switch op.kind {
	case "register", "create", "update":
		if op.kind == "create" && s.live || op.kind == "update" && (!s.live || s.events-1 != op.expected) {
			return s, false
		}
		next = clusterState{true, s.epoch, s.events + 1, op.version}
		if !s.live {
			next.epoch++
		}
		return next, true
	case "deregister":
		if !s.live {
			return s, false
		}
		return clusterState{false, s.epoch, s.events + 1, s.version}, true
	}
	return s, op.kind == "read" || s.live
}

// clusterModel is a registry of one node that carries out one operation after the other.
var clusterModel = porcupine.Model{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		of := map[string][]porcupine.Operation{}
		for _, o := range all {
			id := o.Input.(clusterOp).id
			of[id] = append(of[id], o)
		}
		for _, part := range of {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return clusterState{} },
	Step: func(state, input, output any) (bool, any) {
		was, op, out := state.(clusterState), input.(clusterOp), output.(clusterTold)
		now, done := was.after(op)
		switch out.what {
		case "unknown":
			return true, now
		case "gone":
			return !was.live, was
		case "live":
			return was.live && out == clusterTold{"live", was.epoch, was.events - 1, was.version}, was
		case "refused":
			return !done, was
		}
		return done && out.epoch == now.epoch && out.revision == now.events-1, now
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// recorder has clients send operations to the nodes of a cluster, and records what they are told.
type recorder struct {
	began time.Time
	urls  []string
	stop  chan struct{}

	mu     sync.Mutex
	all    []porcupine.Operation
	newest wire.Position // that any client was told
}

var recording = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// run sends the operations of one client until the recorder stops. A node that does not answer is asked no more for a while.
func (r *recorder) run(number, instances int) {
	rng := rand.New(rand.NewPCG(uint64(number), 5))
	revisions := map[string]uint64{}
	for n := 0; ; n++ {
		select {
		case <-r.stop:
			return
		case <-time.After(time.Duration(20+rng.IntN(200)) * time.Millisecond):
		}
		op := clusterOp{
			kind: []string{"register", "create", "update", "update", "heartbeat", "deregister", "read", "read", "read"}[rng.IntN(9)],
			id:   fmt.Sprint(rng.IntN(instances)), version: fmt.Sprintf("%d-%d", number, n),
		}
		op.expected = revisions[op.id]
		r.mu.Lock()
		after := r.newest
		r.mu.Unlock()
		called := time.Since(r.began)
		told, at, counts := r.send(r.urls[rng.IntN(len(r.urls))], op, after)
		returned := int64(time.Since(r.began))
		if told.what == "unknown" {
			returned = math.MaxInt64
		} else if told.what == "done" || told.what == "live" {
			revisions[op.id] = told.revision
		}
		r.mu.Lock()
		if told.what != "unknown" && at.Number > r.newest.Number {
			r.newest = at
		}
		if counts && !(told.what == "unknown" && (op.kind == "read" || op.kind == "heartbeat")) {
			r.all = append(r.all, porcupine.Operation{ClientId: number, Input: op, Call: int64(called), Output: told, Return: returned})
		}
		r.mu.Unlock()
	}
}

// send sends an operation to a node. counts is false if the node says that nothing was written.
func (r *recorder) send(url string, op clusterOp, after wire.Position) (told clusterTold, at wire.Position, counts bool) {
	unknown := clusterTold{what: "unknown"}
	path, method, body := "/v1/services/told/instances/"+op.id, "PUT", `{"address":"10.0.0.5","ttl":"none","version":"`+op.version+`"}`
	switch op.kind {
	case "heartbeat":
		path, body = path+"/heartbeat", ""
	case "deregister":
		method, body = "DELETE", ""
	case "read":
		method, path, body = "GET", path+"?after="+after.String(), ""
	}
	request, err := http.NewRequest(method, url+path, strings.NewReader(body))
	if err != nil {
		return unknown, at, false
	}
	switch op.kind {
	case "create":
		request.Header.Set("If-None-Match", "*")
	case "update":
		request.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(op.expected)))
	}
	response, err := recording.Do(request)
	if err != nil {
		return unknown, at, true
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return unknown, at, true
	}
	at, _ = wire.ParsePosition("Rollcall-Position", response.Header.Get("Rollcall-Position"))
	var said struct {
		wire.Result
		Version string
		Type    string
	}
	_ = json.Unmarshal(answer, &said)
	switch response.StatusCode {
	case 200, 201:
		if op.kind == "read" {
			return clusterTold{"live", said.Epoch, said.Revision, said.Version}, at, true
		}
		return clusterTold{"done", said.Epoch, said.Revision, ""}, said.Position, true
	case 404, 409, 410, 412:
		if strings.HasSuffix(said.Type, "contended") {
			return unknown, at, false
		}
		if op.kind == "read" {
			return clusterTold{what: "gone"}, at, true
		}
		return clusterTold{what: "refused"}, at, true
	}
	for _, nothing := range []string{"no-leader", "disk-full", "overloaded", "too-many-requests"} {
		if strings.HasSuffix(said.Type, nothing) {
			return unknown, at, false
		}
	}
	return unknown, at, true
}

// judge says whether one registry would have told the clients the same.
func (r *recorder) judge(t testing.TB) {
	t.Helper()
	kinds := map[string]int{}
	for _, o := range r.all {
		kinds[o.Output.(clusterTold).what]++
	}
	result := porcupine.CheckOperationsTimeout(clusterModel, r.all, 5*time.Minute)
	t.Logf("%d operations of clients, %v: %s", len(r.all), kinds, result)
	if result != porcupine.Ok {
		t.Errorf("what clients were told is not linearizable: %s", result)
	}
}
