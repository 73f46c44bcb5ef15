package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

type page struct {
	Entries    []wire.HistoryEntry
	Next       string
	Heartbeats []wire.HeartbeatHour
}

func TestTheHistoryTellsWhoDidWhatAndWhy(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","ports":{"http":80},"metadata":{"a":"1"}}`, "X-Request-Id", "r-1", "Rollcall-Via", "cli").want(t, 201)
	s.send("PUT", a1, `{"address":"10.0.0.6","ports":{"http":81,"admin":9},"version":"2"}`).want(t, 200)
	s.send("PUT", a1+"/health", `{"status":"critical","output":"out of Memory"}`).want(t, 200)
	s.send("PUT", a1+"/heartbeat", "").want(t, 200)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","reason":"deploy 7"}`).want(t, 200)
	s.send("DELETE", a1+"?reason=scaled+down", "").want(t, 200)
	s.send("PUT", "/v1/services/cart/instances/b?ns=shop", `{"address":"::1"}`).want(t, 201)

	var p page
	s.send("GET", a1+"/history?order=oldest", "").want(t, 200).json(t, &p)
	var told []string
	for i, e := range p.Entries {
		told = append(told, e.Summary)
		if e.Revision != eventstore.Revision(i) || e.Actor != "anonymous" || e.Source != "127.0.0.1" || e.ID != "a-1" {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	want := []string{
		"registered at 10.0.0.5 (http=80), passing, ttl 30 s",
		"registered with other details: address, ports, metadata, version changed",
		"health went from passing to critical, says the client: out of Memory",
		"traffic went from serving to draining: deploy 7",
		"deregistered: scaled down",
	}
	if !reflect.DeepEqual(told, want) {
		t.Fatalf("the history tells\n%s", strings.Join(told, "\n"))
	}
	if e := p.Entries[0]; e.RequestID != "r-1" || e.Via != "cli" {
		t.Errorf("the first entry is %+v", e)
	}
	changes, _ := json.Marshal(p.Entries[1].Changes)
	if string(changes) != `[{"field":"address","from":"10.0.0.5","to":"10.0.0.6"},{"field":"ports.admin","from":null,"to":9},{"field":"ports.http","from":80,"to":81},{"field":"metadata.a","from":"1","to":null},{"field":"version","from":"","to":"2"}]` {
		t.Errorf("the changes are %s", changes)
	}
	if len(p.Heartbeats) != 1 || p.Heartbeats[0].Received != 1 {
		t.Errorf("the heartbeats are %+v", p.Heartbeats)
	}
	for query, n := range map[string]int{
		"/v1/history": 6, "/v1/history?ns=shop": 1, "/v1/services/checkout/history": 5, "/v1/services/cart/history?ns=shop": 1,
		"/v1/history?type=InstanceRegistered": 2, "/v1/history?type=InstanceRegistered,HealthChanged": 3, "/v1/history?actor=anonymous": 6, "/v1/history?actor=ann": 0,
		"/v1/history?via=cli": 1, "/v1/history?reason=MEMORY": 1, "/v1/history?from=1h%20ago": 6, "/v1/history?to=1h%20ago": 0, "/v1/history?from=2&to=3": 2,
		"/v1/history?from=2006-01-02T15:04:05Z": 6,
	} {
		p = page{}
		if s.send("GET", query, "").want(t, 200).json(t, &p); len(p.Entries) != n {
			t.Errorf("%s has %d entries, want %d", query, len(p.Entries), n)
		}
	}

	gone := s.send("GET", a1, "")
	gone.problem(t, 410, "instance-gone", "")
	var why wire.Problem
	gone.json(t, &why)
	if why.Event == nil || why.Event.Summary != "deregistered: scaled down" || why.History != a1+"/history" {
		t.Errorf("the reason given is %s", gone.body)
	}
}

// An empty history would say that nothing happened to what is asked about. What never was is refused, and so is a way by
// which no event comes; a filter that picks nothing of what was gives an empty page.
func TestTheHistoryOfWhatNeverWasIsRefused(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"::1"}`).want(t, 201)
	s.send("DELETE", "/v1/services/web/instances/a", "").want(t, 200)
	for path, problem := range map[string]string{
		"/v1/services/web/instances/never/history":    "unknown-instance",
		"/v1/services/never/instances/a/history":      "unknown-instance",
		"/v1/services/web/instances/a/history?ns=dev": "unknown-instance",
		"/v1/services/never/history":                  "unknown-service",
		"/v1/services/web/history?ns=dev":             "unknown-service",
		"/v1/services/never/history?from=1h%20ago":    "unknown-service",
		"/v1/webhooks/never/history":                  "unknown-webhook",
	} {
		s.send("GET", path, "").problem(t, 404, problem, "")
	}
	for _, path := range []string{"/v1/history", "/v1/services/web/history", "/v1/services/web/instances/a/history", "/v1/webhooks/w/history"} {
		s.send("GET", path+"?via=bogus", "").problem(t, 422, "invalid-field", "via")
		s.send("GET", path+"?type=bogus", "").problem(t, 422, "invalid-field", "type")
		s.send("GET", path+"?order=bogus", "").problem(t, 422, "invalid-field", "order")
	}
	for _, path := range []string{
		"/v1/services/web/history?actor=nobody", "/v1/services/web/history?type=LeaseExpired", "/v1/services/web/instances/a/history?to=1h%20ago", "/v1/history?ns=dev", "/v1/history?via=webhooks",
	} {
		p := page{}
		if s.send("GET", path, "").want(t, 200).json(t, &p); len(p.Entries) != 0 {
			t.Errorf("%s has %d entries", path, len(p.Entries))
		}
	}
}

// Pages, one after the other, are the whole, whatever is appended in between.
func TestPagesAreTheWhole(t *testing.T) {
	s := start(t)
	for i := range 25 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"::1"}`).want(t, 201)
	}
	for _, order := range []string{"newest", "oldest"} {
		var seen []eventstore.Position
		cursor := ""
		for n := 0; ; n++ {
			var p page
			s.send("GET", "/v1/services/web/history?limit=4&order="+order+"&cursor="+cursor, "").want(t, 200).json(t, &p)
			for _, e := range p.Entries {
				seen = append(seen, e.Position.Number)
			}
			if order == "newest" {
				s.send("PUT", fmt.Sprintf("/v1/services/web/instances/late-%d", n), `{"address":"::1"}`).want(t, 201)
			}
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		step := 1
		if order == "newest" {
			step = -1
		}
		for i := 1; i < len(seen); i++ {
			if int(seen[i])-int(seen[i-1]) != step {
				t.Fatalf("%s: %d came after %d", order, seen[i], seen[i-1])
			}
		}
		if order == "newest" && len(seen) != 25 {
			t.Errorf("%d entries, want those 25 that stood at the first page", len(seen))
		}
	}
}

func TestBadMomentsAreRefused(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for path, field := range map[string]string{
		"/v1/catalog?at=yesterday": "at", "/v1/catalog?at=" + future: "at", "/v1/catalog?at=999": "at", "/v1/catalog?at=-1": "at", "/v1/services?at=x": "at",
		"/v1/services/checkout/instances?at=1&wait=1s": "at", "/v1/diff": "from", "/v1/diff?from=1&to=0": "from", "/v1/diff?from=0&to=77": "to",
		"/v1/history?from=tomorrow": "from", "/v1/history?from=" + future: "from", "/v1/history?from=1&to=0": "from", "/v1/history?type=Nonsense": "type",
		"/v1/history?order=up": "order", "/v1/history?limit=0": "limit", "/v1/history?limit=1001": "limit", "/v1/history?cursor=%21": "cursor", "/v1/history?cursor=AAAA": "cursor",
		"/v1/history?colour=red": "colour", "/v1/history?ns=A": "ns", "/v1/events?from=now&to=1h%20ago": "from", "/v1/events?type=x": "type",
		"/v1/events?follow=true&to=1": "follow", "/v1/events?format=xml": "format", "/v1/events?instance=a": "instance", "/v1/events?nonsense=1": "nonsense",
		"/v1/proofs/inclusion": "position", "/v1/proofs/inclusion?position=77": "position", "/v1/proofs/inclusion?position=1&size=9": "size",
		"/v1/proofs/consistency?from=0": "from", "/v1/proofs/consistency?from=1&to=2": "to",
	} {
		s.send("GET", path, "").problem(t, 422, "invalid-field", field)
	}
	for path, empty := range map[string]string{
		"/v1/catalog?": "services", "/v1/services?": "services", "/v1/services?limit=5&": "services", "/v1/namespaces?": "namespaces",
		"/v1/services/checkout/instances?": "instances", "/v1/services/checkout/instances?limit=5&": "instances",
	} {
		early := s.send("GET", path+"at=2006-01-02T15:04:05Z", "").want(t, 200)
		if !strings.Contains(string(early.body), `"note":"before the first event: `) || !strings.Contains(string(early.body), `"`+empty+`":[]`) {
			t.Errorf("%s before the first event: %s", path, early.body)
		}
		if now := s.send("GET", path+"at=now", "").want(t, 200); strings.Contains(string(now.body), `"note"`) {
			t.Errorf("%s now: %s", path, now.body)
		}
	}
	s.send("GET", a1+"?at=0", "").problem(t, 404, "unknown-instance", "")
}

// The laws of time travel, through the front door. Package asof holds them on more histories.
func TestTheLawsOfTimeTravel(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for round := range 12 {
		rng := rand.New(rand.NewPCG(uint64(round), 1))
		ns := fmt.Sprintf("ns%d", round)
		at := map[string]string{} // position → catalog then
		positions := []string{}
		for range 1 + rng.IntN(15) {
			path := fmt.Sprintf("/v1/services/%s/instances/%d", []string{"a", "b"}[rng.IntN(2)], rng.IntN(3))
			switch rng.IntN(5) {
			case 0, 1:
				s.send("PUT", path+"?ns="+ns, fmt.Sprintf(`{"address":"10.0.0.%d","metadata":{"k":"%d"}}`, 1+rng.IntN(3), rng.IntN(3)))
			case 2:
				s.send("PUT", path+"/traffic?ns="+ns, `{"traffic":"draining"}`)
			case 3:
				s.send("PUT", path+"/health?ns="+ns, `{"status":"warning"}`)
			case 4:
				s.send("DELETE", path+"?ns="+ns, "")
			}
			now := s.send("GET", "/v1/catalog?ns="+ns, "").want(t, 200)
			position := now.Header.Get("Rollcall-Position")
			positions = append(positions, position)
			at[position] = string(now.body)
		}
		for _, p := range positions {
			if got := s.send("GET", "/v1/catalog?ns="+ns+"&at="+p, "").want(t, 200); string(got.body) != at[p] {
				t.Fatalf("the catalog at %s is\n%s, it was\n%s", p, got.body, at[p])
			}
		}
		from, to := positions[rng.IntN(len(positions))], positions[len(positions)-1]
		d := s.diff(t, "/v1/diff?from="+from+"&to="+to, 1+rng.IntN(5))
		before, after := instancesIn(t, at[from]), instancesIn(t, at[to])
		for _, c := range d.Removed {
			delete(before, c.Service+"/"+c.ID)
		}
		for _, c := range append(d.Added, d.Changed...) {
			before[c.Service+"/"+c.ID] = *c.After
			if c.Event == nil || c.Event.ID != c.ID {
				t.Fatalf("no event explains %+v", c)
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("the difference leads to\n%+v, want\n%+v", before, after)
		}
	}
}

// diff asks for page after page of a difference, and holds it against the difference in one page.
func (s *server) diff(t *testing.T, path string, limit int) (all wire.Diff) {
	t.Helper()
	var whole wire.Diff
	s.send("GET", path, "").want(t, 200).json(t, &whole)
	for cursor := ""; ; {
		var page wire.Diff
		s.send("GET", fmt.Sprintf("%s&limit=%d&cursor=%s", path, limit, cursor), "").want(t, 200).json(t, &page)
		if n := len(page.Added) + len(page.Removed) + len(page.Changed); n > limit || n == 0 && cursor != "" || n < limit && page.Next != "" {
			t.Fatalf("a page of %d changes, the limit is %d", n, limit)
		}
		all.Added, all.Removed, all.Changed = append(all.Added, page.Added...), append(all.Removed, page.Removed...), append(all.Changed, page.Changed...)
		if cursor = page.Next; cursor == "" {
			break
		}
		if page.From.Position != whole.From.Position || page.To.Position != whole.To.Position {
			t.Fatalf("a page is from %v to %v, want %v to %v", page.From, page.To, whole.From, whole.To)
		}
	}
	if len(all.Added) != len(whole.Added) || len(all.Removed) != len(whole.Removed) || len(all.Changed) != len(whole.Changed) {
		t.Fatalf("the pages have %d, %d and %d changes, want %d, %d and %d", len(all.Added), len(all.Removed), len(all.Changed), len(whole.Added), len(whole.Removed), len(whole.Changed))
	}
	return all
}

// What comes between two pages does not change a difference that ends now: the pages are of one pair of moments.
func TestADifferenceStaysTheSameWhileItIsPaged(t *testing.T) {
	s := start(t)
	for i := range 3 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"10.0.0.1","ttl":"1h"}`).want(t, 201)
	}
	var first, second wire.Diff
	s.send("GET", "/v1/diff?from=0&limit=2", "").want(t, 200).json(t, &first)
	for i := range 5 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"10.0.0.2","ttl":"1h"}`)
	}
	s.send("GET", "/v1/diff?from=0&limit=2&cursor="+first.Next, "").want(t, 200).json(t, &second)
	if len(first.Added) != 2 || len(second.Added) != 1 || second.Added[0].After.Address != "10.0.0.1" || second.Next != "" || second.To.Position != first.To.Position {
		t.Errorf("the pages are %+v and %+v", first, second)
	}
	for _, cursor := range []string{"x", "!", "MSAyIGE"} {
		s.send("GET", "/v1/diff?from=0&cursor="+cursor, "").problem(t, 422, "invalid-field", "cursor")
	}
	for _, limit := range []string{"0", "1001", "-1", "x"} {
		s.send("GET", "/v1/diff?from=0&limit="+limit, "").problem(t, 422, "invalid-field", "limit")
	}
}

func instancesIn(t *testing.T, body string) map[string]wire.Instance {
	t.Helper()
	var all struct{ Services []wire.ServiceInstances }
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	m := map[string]wire.Instance{}
	for _, s := range all.Services {
		for _, i := range s.Instances {
			m[s.Service+"/"+i.ID] = i
		}
	}
	return m
}

func TestReplay(t *testing.T) {
	s := start(t)
	for i := range 5 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"::1"}`).want(t, 201)
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d/heartbeat", i), "").want(t, 200)
	}
	s.send("PUT", "/v1/services/web/instances/1x", `{"address":"::1"}`).want(t, 201)
	for query, want := range map[string]int{
		"": 6, "?heartbeats=true": 11, "?type=HeartbeatReceived": 5, "?type=InstanceRegistered": 6, "?from=3&to=5": 2, "?from=3&to=5&heartbeats=true": 3,
		"?service=web&instance=1": 1, "?service=web&instance=1&heartbeats=true": 2, "?service=web": 6, "?ns=other": 0, "?to=0": 0, "?from=11": 1,
	} {
		r := s.send("GET", "/v1/events"+query, "").want(t, 200)
		n := 0
		for line := range strings.Lines(string(r.body)) {
			e, err := eventstore.ParseJSON([]byte(line))
			if err != nil || e.Position == 0 || !json.Valid(e.Data) {
				t.Fatalf("%s: %v", line, err)
			}
			n++
		}
		if n != want {
			t.Errorf("%s replayed %d events, want %d", query, n, want)
		}
	}
	r := s.send("GET", "/v1/events?heartbeats=true&format=cloudevents", "").want(t, 200)
	for line := range strings.Lines(string(r.body)) {
		var e cloudevents.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if err := e.Validate(); err != nil || !strings.HasPrefix(e.Subject(), "default/web/") || e.Extensions()["position"] == nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestAFollowerSeesWhatComes(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"::1"}`).want(t, 201)
	resp, err := http.Get(s.URL + "/v1/events?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		if !lines.Scan() {
			t.Fatal("the stream ended")
		}
		if e, err := eventstore.ParseJSON(lines.Bytes()); err != nil || e.Revision != eventstore.Revision(i) {
			t.Fatalf("event %d is %s", i, lines.Bytes())
		}
		s.send("PUT", a1, fmt.Sprintf(`{"address":"::1","version":"%d"}`, i)).want(t, 200)
	}
	s.stop()
	for lines.Scan() {
	}
}

func TestProofsProve(t *testing.T) {
	s := start(t)
	var saved []string
	for i := range 9 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"::1"}`).want(t, 201)
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d/heartbeat", i), "").want(t, 200)
		saved = append(saved, string(s.send("GET", "/v1/checkpoint", "").want(t, 200).body))
	}
	key := string(s.send("GET", "/v1/checkpoint/key", "").want(t, 200).body)
	newest, err := history.OpenCheckpoint([]byte(saved[8]), key)
	if err != nil || newest.Size != 9 {
		t.Fatalf("the checkpoint is %+v, %v", newest, err)
	}
	for i, signed := range saved {
		older, err := history.OpenCheckpoint([]byte(signed), key)
		if err != nil || older.Size != int64(i+1) {
			t.Fatalf("checkpoint %d is %+v, %v", i, older, err)
		}
		var c struct{ Proof tlog.TreeProof }
		s.send("GET", fmt.Sprintf("/v1/proofs/consistency?from=%d&to=9", older.Size), "").want(t, 200).json(t, &c)
		if err := tlog.CheckTree(c.Proof, 9, newest.Root, older.Size, older.Root); err != nil {
			t.Errorf("from %d: %v", older.Size, err)
		}
		var in struct {
			Leaf  int64
			Proof tlog.RecordProof
			Event json.RawMessage
		}
		s.send("GET", fmt.Sprintf("/v1/proofs/inclusion?position=%d&size=9", 2*i+1), "").want(t, 200).json(t, &in)
		if err := tlog.CheckRecord(in.Proof, 9, newest.Root, in.Leaf, tlog.RecordHash(in.Event)); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	for text, with := range map[string]string{saved[8][1:]: key, "": key, saved[8]: "no key"} {
		if _, err := history.OpenCheckpoint([]byte(text), with); err == nil || strings.Contains(err.Error(), "malformed") {
			t.Errorf("%.20q with the key %q gives %v", text, with, err)
		}
	}
	if _, err := history.OpenCheckpoint([]byte(strings.Replace(saved[8], "\n9\n", "\n8\n", 1)), key); err == nil {
		t.Error("a checkpoint that was changed is taken for signed")
	}
}
