package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// tortureKills is how often the crash campaign kills the server: make torture asks for many.
func tortureKills(t *testing.T) int {
	s := os.Getenv("ROLLCALL_TORTURE")
	if s == "" {
		return 6
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// campaign is what clients know, through all kills.
type campaign struct {
	t       *testing.T
	mu      sync.Mutex
	acked   map[string]bool // id/version of acknowledged registrations
	refused map[string]bool // versions of refused ones
	beats   map[string]int  // acknowledged heartbeats by id
	saved   *history.Checkpoint
	events  int
}

// The real binary is killed at random moments under load, again and again. After each start everything
// acknowledged is there, nothing refused is, revisions have no gap, the catalog and the history are what
// the log adds up to, and the log before the last checkpoint is unchanged.
func TestTheCrashCampaign(t *testing.T) {
	kills := tortureKills(t)
	data := t.TempDir()
	c := &campaign{t: t, acked: map[string]bool{}, refused: map[string]bool{}, beats: map[string]int{}}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for kill := range kills {
		p := startServer(t, data)
		c.check(p, kill)
		if t.Failed() {
			return
		}
		var dead atomic.Bool
		var clients sync.WaitGroup
		for client := range 12 {
			clients.Go(func() { c.load(p, fmt.Sprintf("%d-%d", kill, client), &dead) })
		}
		time.Sleep(time.Duration(20+rng.IntN(300)) * time.Millisecond)
		dead.Store(true)
		_ = p.end(syscall.SIGKILL)
		clients.Wait()
	}
	p := startServer(t, data)
	c.check(p, kills)
	t.Logf("%d kills survived; %d registrations and %d instances' heartbeats acknowledged, %d refusals; %d lifecycle events checked, 0 lost", kills, len(c.acked), len(c.beats), len(c.refused), c.events)
}

func (c *campaign) load(p *process, name string, dead *atomic.Bool) {
	rng := rand.New(rand.NewPCG(uint64(len(name)), uint64(time.Now().UnixNano())))
	for n := 0; !dead.Load(); n++ {
		id := fmt.Sprint("i", rng.IntN(40))
		version := fmt.Sprintf("%s-%d", name, n)
		path := "/v1/services/fleet/instances/" + id
		var status int
		var err error
		switch rng.IntN(6) {
		case 0, 1, 2:
			if status, _, err = p.send("PUT", path, `{"address":"10.0.0.5","ttl":"1h","version":"`+version+`"}`); err == nil && status < 300 {
				c.mu.Lock()
				c.acked[id+"/"+version] = true
				c.mu.Unlock()
			}
		case 3:
			if status, _, err = p.send("PUT", path+"/heartbeat", ""); err == nil && status == 200 {
				c.mu.Lock()
				c.beats[id]++
				c.mu.Unlock()
			}
		case 4:
			_, _, err = p.send("DELETE", path, "")
		case 5:
			if status, _, err = p.send("PUT", path, `{"address":"10.0.0.5","ttl":"1ms","version":"`+version+`"}`); err == nil {
				if status != 422 {
					c.t.Errorf("a bad registration got %d", status)
				}
				c.mu.Lock()
				c.refused[version] = true
				c.mu.Unlock()
			}
		}
		if err != nil {
			return // it is dead
		}
	}
}

// get is a reply in JSON.
func (p *process) get(path string, v any) {
	p.t.Helper()
	status, b, err := p.send("GET", path, "")
	if err != nil || status != 200 {
		p.t.Fatalf("%s: %d, %v, %s", path, status, err, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		p.t.Fatal(err)
	}
}

func (c *campaign) check(p *process, kill int) {
	t := c.t
	t.Helper()
	status, b, err := p.send("GET", "/v1/events?heartbeats=true", "")
	if err != nil || status != 200 {
		t.Fatalf("after kill %d: %d, %v", kill, status, err)
	}
	revisions := map[eventstore.StreamName]eventstore.Revision{}
	states := map[domain.Key]domain.Instance{}
	registered := map[string]bool{}
	beats := map[string]int{}
	c.events = 0
	for line := range bytes.Lines(b) {
		e, err := eventstore.ParseJSON(line)
		if err != nil {
			t.Fatal(err)
		}
		if want := revisions[e.Stream]; e.Revision != want {
			t.Fatalf("after kill %d: %s has revision %d where %d is due", kill, e.Stream, e.Revision, want)
		}
		revisions[e.Stream]++
		event, err := domain.DecodeEvent(e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := e.Stream.InstanceKey()
		switch x := event.(type) {
		case domain.HeartbeatReceived:
			beats[key.ID]++
			continue
		case domain.InstanceRegistered:
			registered[key.ID+"/"+x.Version] = true
		case domain.InstanceUpdated:
			registered[key.ID+"/"+x.Version] = true
		}
		c.events++
		state := states[key]
		state.Key = key
		states[key] = domain.Evolve(state, event, eventstore.RecordOf(&e))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.acked {
		if !registered[id] {
			t.Errorf("after kill %d: the registration of %s was acknowledged and is lost", kill, id)
		}
	}
	for id := range registered {
		if _, version, _ := strings.Cut(id, "/"); c.refused[version] {
			t.Errorf("after kill %d: the registration of %s was refused and is there", kill, id)
		}
	}
	for id, n := range c.beats {
		if beats[id] < n {
			t.Errorf("after kill %d: %s has %d heartbeats, %d were acknowledged", kill, id, beats[id], n)
		}
	}
	var all struct{ Services []wire.ServiceInstances }
	p.get("/v1/catalog", &all)
	live := map[string]string{}
	for _, s := range all.Services {
		for _, i := range s.Instances {
			live[i.ID] = fmt.Sprint(i.Version, i.Epoch, i.Revision)
		}
	}
	want := map[string]string{}
	for key, s := range states {
		if s.Live() {
			want[key.ID] = fmt.Sprint(s.Details.Version, s.Epoch, s.Revision())
		}
	}
	if fmt.Sprint(live) != fmt.Sprint(want) {
		t.Errorf("after kill %d: the catalog is\n%v\nthe log adds up to\n%v", kill, live, want)
	}
	c.checkTree(p, kill)
}

// checkTree holds the history against the log, and the tree against the checkpoint before.
func (c *campaign) checkTree(p *process, kill int) {
	t := c.t
	t.Helper()
	if c.events == 0 {
		return
	}
	_, key, err := p.send("GET", "/v1/checkpoint/key", "")
	if err != nil {
		t.Fatal(err)
	}
	_, signed, err := p.send("GET", "/v1/checkpoint", "")
	if err != nil {
		t.Fatal(err)
	}
	now, err := history.OpenCheckpoint(signed, string(key))
	if err != nil || now.Size != int64(c.events) {
		t.Fatalf("after kill %d: the tree has %d leaves, the log %d events, %v", kill, now.Size, c.events, err)
	}
	if c.saved != nil {
		var proof struct{ Proof tlog.TreeProof }
		p.get(fmt.Sprintf("/v1/proofs/consistency?from=%d&to=%d", c.saved.Size, now.Size), &proof)
		if err := tlog.CheckTree(proof.Proof, now.Size, now.Root, c.saved.Size, c.saved.Root); err != nil {
			t.Errorf("after kill %d: the log before the last checkpoint was changed: %v", kill, err)
		}
	}
	c.saved = &now
}

// A process that stands still for longer than every ttl expires no one who heartbeats when it goes on.
func TestAStalledProcessExpiresNobody(t *testing.T) {
	p := startServer(t, t.TempDir(), "--self-preservation=false")
	for i := range 40 {
		if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), `{"address":"10.0.0.5","ttl":"1s"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	_ = p.Process.Signal(syscall.SIGSTOP)
	time.Sleep(3 * time.Second)
	_ = p.Process.Signal(syscall.SIGCONT)
	for range 8 {
		for i := range 40 {
			if status, b, err := p.send("PUT", fmt.Sprintf("/v1/services/web/instances/i%d/heartbeat", i), ""); err != nil || status != 200 {
				t.Fatalf("after the stall: %d, %v, %s", status, err, b)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// 10,000 clients that come at once are all served, and hostile ones harm nobody.
func TestCrowdsAndHostileClients(t *testing.T) {
	p := startServer(t, t.TempDir())
	address := strings.TrimPrefix(p.url, "http://")
	for range 50 { // slowloris, and readers that stop reading
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "PUT /v1/services/web/instances/slow HTTP/1.1\r\nHost: localhost\r\n")
		r, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		fmt.Fprint(r, "GET /v1/streams/catalog HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	var served atomic.Int64
	var crowd sync.WaitGroup
	gate := make(chan struct{}, 1000) // connections at once: this process has to hold them, too
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 10_000 {
		gate <- struct{}{}
		crowd.Go(func() {
			defer func() { <-gate }()
			for range 10 {
				r, err := http.NewRequest("PUT", fmt.Sprintf("%s/v1/services/crowd/instances/i%d", p.url, i), strings.NewReader(`{"address":"10.0.0.5","ttl":"1h"}`))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode == 503 { // Retry-After
					time.Sleep(100 * time.Millisecond)
					continue
				}
				if resp.StatusCode == 201 {
					served.Add(1)
				}
				return
			}
		})
	}
	crowd.Wait()
	if served.Load() != 10_000 || len(p.instances("crowd")) != 10_000 {
		t.Errorf("%d of 10,000 were served", served.Load())
	}
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"50 MiB":              {strings.Repeat(" ", 50<<20), 413},
		"deep JSON":           {deep, 400},
		"invalid UTF-8":       {"{\"address\":\"10.0.0.5\",\"zone\":\"\xff\"}", 400},
		"a control character": {`{"address":"10.0.0.5","zone":"\u0007"}`, 422},
		"a NUL in a key":      {`{"address":"10.0.0.5","metadata":{"\u0000":"x"}}`, 422},
	} {
		status, b, err := p.send("PUT", "/v1/services/web/instances/a", c.body)
		if err != nil && c.want == 413 { // it hung up on the rest
			continue
		}
		if err != nil || status != c.want && !(c.want == 400 && status == 422) {
			t.Errorf("%s: %d, %v, %.200s", name, status, err, b)
		}
	}
	for _, id := range []string{"%00", "%0a", "a%20b", "%ff", strings.Repeat("x", 257)} {
		if status, _, err := p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5"}`); err != nil || status != 422 {
			t.Errorf("id %s: %d, %v", id, status, err)
		}
	}
	if status, b, err := p.send("PUT", "/v1/services/web/instances/good", `{"address":"10.0.0.5"}`); err != nil || status != 201 {
		t.Errorf("after all that: %d, %v, %s", status, err, b)
	}
}

// A backup of the running registry, made anew as it goes on, restores to the same catalog and history, on a timeline
// of its own; a damaged one, or a folder in use, is refused.
func TestBackupAndRestore(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	register := func(from, to int) {
		for i := from; i < to; i++ {
			if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
				t.Fatal(status, err, string(b))
			}
			if status, _, err := p.send("PUT", fmt.Sprintf("/v1/services/web/instances/i%d/heartbeat", i), ""); err != nil || status != 200 {
				t.Fatal(status, err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "backup")
	backup := func() {
		t.Helper()
		if out, err := rollcall("backup", dir, "--data", data); err != nil || !strings.Contains(out, "backed up to") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	register(0, 100)
	backup()
	register(100, 150)
	backup() // what is new
	told := func(p *process) string {
		t.Helper()
		var all []byte
		for _, path := range []string{"/v1/catalog", "/v1/services/web/instances/i7/history", "/v1/history?limit=1000", "/v1/checkpoint/key"} {
			status, b, err := p.send("GET", path, "")
			if err != nil || status != 200 {
				t.Fatal(path, status, err)
			}
			all = append(append(all, b...), '\n')
		}
		var lines []string // without what names positions: the timeline's beginning has one, and gives the others its name
		for line := range strings.SplitSeq(strings.NewReplacer("{", "\n{", ",", "\n").Replace(string(all)), "\n") {
			if !strings.Contains(line, `"position":`) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	want := told(p)
	if err := p.end(syscall.SIGKILL); err == nil { // the machine is lost
		t.Error("it was not killed")
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if out, err := rollcall("restore", dir, "--data", fresh); err != nil || !strings.Contains(out, "restored to") {
		t.Fatalf("%v\n%s", err, out)
	}
	p = startServer(t, fresh)
	got := told(p)
	from := strings.Index(got, "TimelineBegan")
	if from < 0 {
		t.Fatalf("the restored log does not say that it was restored:\n%.2000s", got)
	}
	// That entry comes first in the history of all.
	begins, ends := strings.LastIndex(got[:from], "\n{"), from+strings.Index(got[from:], "\n{\"event_id\"")
	if without := got[:begins] + got[ends:]; without != want {
		t.Errorf("restored, the registry tells\n%.2000s\nbefore it told\n%.2000s", without, want)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := rollcall("restore", dir, "--data", fresh); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a folder that is in use: %v", err)
	}
	offline := filepath.Join(t.TempDir(), "offline")
	if out, err := rollcall("backup", offline, "--data", fresh); err != nil {
		t.Errorf("offline: %v\n%s", err, out)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "events", "*"))
	if err != nil || len(tables) == 0 {
		t.Fatal(err)
	}
	f, err := os.OpenFile(tables[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := rollcall("restore", dir, "--data", filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged backup: %v", err)
	}
	if _, err := rollcall("restore", t.TempDir(), "--data", filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "no backup") {
		t.Errorf("no backup: %v", err)
	}
	if out, err := rollcall("store", "stats", "--data", fresh); err != nil || !strings.Contains(out, "InstanceRegistered  150") {
		t.Errorf("stats: %v\n%s", err, out)
	}
}
