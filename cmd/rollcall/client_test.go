package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// cutting stands before a registry and cuts the replies of a path after a number of bytes.
func cutting(t *testing.T, registry, path string, after int64) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(registry + r.URL.RequestURI())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.Header().Set("Rollcall-Position", resp.Header.Get("Rollcall-Position"))
		w.WriteHeader(resp.StatusCode)
		if r.URL.Path != path {
			_, _ = io.Copy(w, resp.Body)
			return
		}
		_, _ = io.CopyN(w, resp.Body, after)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s
}

// A transfer of events that breaks off is no whole one: whoever reads it is told, and what is missing.
func TestATransferThatBreaksOffFailsAndIsGoneOnWith(t *testing.T) {
	p := startServer(t, t.TempDir())
	for i := range 20 {
		if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	if _, err := rollcall("heartbeat", "web/i1", "--url", p.url); err != nil {
		t.Fatal(err)
	}
	bad := cutting(t, p.url, "/v1/events", 3000)
	badStream := cutting(t, p.url, "/v1/streams/events", 3000)
	file := filepath.Join(t.TempDir(), "events.ndjson")
	for _, args := range []string{"events export " + file, "events export -", "events tail --from 1", "events tail --from 1 -o json", "replay --speed 0", "verify"} {
		url := bad.URL
		if strings.Contains(args, "tail") {
			url = badStream.URL
		}
		out, err := rollcall(append(strings.Fields(args), "--url", url)...)
		if err == nil || exitCode(err) != exitFailed || !strings.Contains(err.Error(), "broke off") || !strings.Contains(err.Error(), "what comes after position") {
			t.Errorf("rollcall %s: %v\n%s", args, err, out)
		}
	}
	if out, err := rollcall("events", "export", file, "--url", p.url); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if b, err := os.ReadFile(file); err != nil || bytes.Count(b, []byte("\n")) != 20 {
		t.Errorf("the export that was gone on with has %d events, %v", bytes.Count(b, []byte("\n")), err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := rollcall("events", "export", file, "--heartbeats", "--url", p.url); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || bytes.Count(b, []byte("\n")) != 21 {
		t.Errorf("the export with heartbeats has %d events, %v", bytes.Count(b, []byte("\n")), err)
	}
}

// Only what is not there is "not found". A URL that leads elsewhere is a failure, whatever answers there.
func TestExitCodesTellWhatIsMissingFromWhatIsWrong(t *testing.T) {
	p := startServer(t, t.TempDir())
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for _, c := range []struct {
		args, url string
		code      int
		says      string
	}{
		{"why web/a", p.url, exitNotFound, "never registered"},
		{"heartbeat web/a", p.url, exitNotFound, "not registered"},
		{"webhooks pause nothing", p.url, exitNotFound, ""},
		{"services", p.url + "/wrong", exitFailed, "has nothing at /wrong/v1/"},
		{"watch web", p.url + "/wrong", exitFailed, "has nothing at /wrong/v1/"},
		{"events tail", p.url + "/wrong", exitFailed, "has nothing at /wrong/v1/"},
		{"services", other.URL, exitFailed, "is not a Rollcall server: it answered 404 Not Found"},
		{"watch", other.URL, exitFailed, "is not a Rollcall server"},
		{"events export -", other.URL, exitFailed, "is not a Rollcall server"},
		{"services", "http://127.0.0.1:1", exitFailed, "no answer from http://127.0.0.1:1: "},
		{"watch", "http://127.0.0.1:1", exitFailed, "no answer from"},
		{"events tail", "http://127.0.0.1:1", exitFailed, "no answer from"},
		{"services", "ftp://nonsense", exitUsage, "url must be like"},
		{"heartbeat web", p.url, exitUsage, ""},
		{"services -o xml", p.url, exitUsage, "output must be"},
		// What an argument says, the registry judges, too.
		{"revert --reason x", p.url, exitUsage, ""},
		{"revert --actor bot --reason x", p.url, exitUsage, ""},
		{"revert --to now --kinds colours", p.url, exitUsage, ""},
		{"webhooks replay nothing", p.url, exitUsage, "from"},
		{"webhooks create nonsense", p.url, exitUsage, ""},
		{"register we!b/a --address 10.0.0.5", p.url, exitUsage, ""},
		{"register web/a --address 0.0.0.0", p.url, exitUsage, "address"},
		{"traffic web/a flying", p.url, exitUsage, ""},
		{"services --at 2999-01-01T00:00:00Z", p.url, exitUsage, "future"},
		{"history --type Nonsense", p.url, exitUsage, ""},
		{"register web/a --address 10.0.0.5 --check id=w,kind=ttl,ttl=5s,foo=1", p.url, exitUsage, "a check is wrong: foo is not a known field"},
		{"register web/a --address 10.0.0.5 --check id=w,id=v", p.url, exitUsage, "id must be given once"},
		{`register web/a --address 10.0.0.5 --check {"id":"w"}x`, p.url, exitUsage, "something follows"},
		{"register web/a --address 10.0.0.5 --ttl 0s", p.url, exitUsage, "must be longer than 0s"},
		{"run --service web --ttl none -- true", p.url, exitUsage, "the command keeps the instance's lease"},
		{"run --service web --ttl 0s -- true", p.url, exitUsage, "must be longer than 0s"},
		{"heartbeat web/a --every 1s --address 10.0.0.5 --ttl none", p.url, exitUsage, "the command keeps the instance's lease"},
	} {
		out, err := rollcall(append(strings.Fields(c.args), "--url", c.url)...)
		if err == nil || exitCode(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("rollcall %s --url %s: %v\n%s\nwant exit code %d, %q", c.args, c.url, err, out, c.code, c.says)
		}
	}
}

// The client understands what a real registry says, on every route that it knows.
func TestTheClientSpeaksWithARealRegistry(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data, "--webhook-allow-private")
	ctx := t.Context()
	c, err := client.New(p.url, client.Options{Via: "cli"})
	if err != nil {
		t.Fatal(err)
	}
	a, b := domain.Key{Service: "web", ID: "a"}, domain.Key{Namespace: "shop", Service: "web", ID: "b:1"}
	details := domain.Details{Address: "10.0.0.5", Ports: map[string]uint16{"http": 80}, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}, Weight: 100, Status: domain.Passing, TTL: domain.Duration(time.Hour)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first, err := c.Register(ctx, a, details)
	must(err)
	if !first.Created || first.Value.Epoch != 1 || first.Value.Namespace != "default" || first.Position.Number < first.Value.Position.Number {
		t.Errorf("the registration is answered with %+v", first)
	}
	again, err := c.Register(ctx, a, details)
	must(err)
	if again.Created {
		t.Error("a renewal created something")
	}
	_, err = c.Register(ctx, b, details)
	must(err)
	_, err = c.Heartbeat(ctx, b, client.OfEpoch(1))
	must(err)
	beats, err := c.Heartbeats(ctx, []domain.Key{a, b, {Service: "web", ID: "nobody"}})
	must(err)
	if r, ok := beats.Value.InOrder(3); !ok || r[0].Problem != nil || r[1].ID != "b:1" || r[2].Problem.Type != wire.UnknownInstance {
		t.Errorf("a batch is answered with %+v", beats.Value)
	}
	_, err = c.ReportHealth(ctx, a, client.Health{Status: domain.Warning, Output: "slow"}, client.OfEpoch(1))
	must(err)
	_, err = c.ChangeTraffic(ctx, a, domain.Draining, "deploy")
	must(err)
	var refused *wire.Problem
	if _, err := c.Heartbeat(ctx, a, client.OfEpoch(7)); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("a heartbeat of another epoch: %v", err)
	}
	if _, err := c.ReportHealth(ctx, a, client.Health{Status: domain.Passing}, client.AtRevision(99)); !errors.As(err, &refused) || refused.Status != http.StatusPreconditionFailed {
		t.Errorf("a report at another revision: %v", err)
	}

	services, err := c.Services(ctx, "", "")
	must(err)
	one, err := c.Services(ctx, "shop", "")
	must(err)
	if len(services.Value.Services) != 2 || len(one.Value.Services) != 1 {
		t.Errorf("services: %+v, %+v", services.Value, one.Value)
	}
	all := client.InstanceFilter{Statuses: []domain.Status{domain.Warning}, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}}
	list, err := c.Instances(ctx, domain.ServiceKey{Service: "web"}, client.InstancesQuery{InstanceFilter: all, Leases: true})
	must(err)
	if len(list.Value.Instances) != 1 || list.Value.Instances[0].LeaseExpiresAt == nil {
		t.Errorf("instances: %+v", list.Value)
	}
	ready, err := c.Instances(ctx, domain.ServiceKey{Service: "web"}, client.InstancesQuery{InstanceFilter: client.InstanceFilter{Ready: true}, Index: list.Value.Position, Wait: time.Millisecond})
	must(err)
	if len(ready.Value.Instances) != 0 {
		t.Errorf("a draining instance is ready: %+v", ready.Value)
	}
	seen, err := c.Instance(ctx, b, "")
	must(err)
	if seen.Value.Key() != b {
		t.Errorf("the instance is %+v", seen.Value)
	}
	past, err := c.Catalog(ctx, "", client.AtPosition(first.Value.Position))
	must(err)
	if len(past.Value.Services) != 1 || past.Value.Place.Position != first.Value.Position {
		t.Errorf("the catalog at the first position: %+v", past.Value)
	}
	diff, err := c.Diff(ctx, client.AtPosition(first.Value.Position), "")
	must(err)
	if len(diff.Value.Added) != 1 || len(diff.Value.Changed) != 1 {
		t.Errorf("the difference: %+v", diff.Value)
	}

	_, err = c.Deregister(ctx, b, "scaled down")
	must(err)
	if _, err := c.Instance(ctx, b, ""); !errors.As(err, &refused) || refused.Status != http.StatusGone || refused.Event == nil {
		t.Errorf("an instance that is gone: %+v", refused)
	}
	for want, q := range map[string]client.HistoryQuery{
		"InstanceRegistered InstanceDeregistered ":                                                 {Instance: b, Oldest: true, Limit: 1},
		"TrafficChanged HealthChanged InstanceRegistered ":                                         {Service: domain.ServiceKey{Service: "web"}, Via: "cli"},
		"InstanceDeregistered ":                                                                    {Reason: "scaled", Types: []string{domain.TypeInstanceDeregistered}, From: client.At(time.Now().Add(-time.Hour))},
		"InstanceRegistered InstanceRegistered HealthChanged TrafficChanged InstanceDeregistered ": {Oldest: true, Limit: 2},
	} {
		types := ""
		for e, err := range c.HistoryEntries(ctx, q) {
			must(err)
			types += e.Type + " "
		}
		if types != want {
			t.Errorf("the history of %+v is %s, want %s", q, types, want)
		}
	}
	for want, q := range map[int]client.EventQuery{
		5: {}, 9: {Heartbeats: true}, 2: {Namespace: "shop"}, 3: {Service: "web"}, 4: {Types: []string{domain.TypeHeartbeatReceived}},
	} {
		n := 0
		for e, err := range c.Events(ctx, q) {
			must(err)
			if e.Position == 0 || len(e.Raw) == 0 {
				t.Errorf("an event is %+v", e)
			}
			n++
		}
		if n != want {
			t.Errorf("%+v picks %d events, want %d", q, n, want)
		}
	}
	n := 0
	for e, err := range c.StreamEvents(ctx, client.EventQuery{Heartbeats: true, After: first.Value.Position}) {
		must(err)
		if e.Position <= first.Value.Position.Number {
			t.Errorf("position %d comes again", e.Position)
		}
		if n++; n == 7 {
			break
		}
	}
	for u, err := range c.Follow(ctx, client.FollowQuery{}) {
		must(err)
		if u.Kind != wire.StreamSnapshot || len(u.Instances) != 1 {
			t.Errorf("the stream begins with %+v", u)
		}
		break
	}

	leaves := 0
	for _, err := range c.AllLeaves(ctx, 5) {
		must(err)
		leaves++
	}
	inclusion, err := c.ProveInclusion(ctx, first.Value.Position, 0)
	must(err)
	consistency, err := c.ProveConsistency(ctx, 2, 5)
	must(err)
	if leaves != 5 || inclusion.Value.Size != 5 || inclusion.Value.Root != consistency.Value.ToRoot || consistency.Value.ToRoot == (wire.Hash{}) {
		t.Errorf("%d leaves, %+v, %+v", leaves, inclusion.Value, consistency.Value)
	}
	signed, err := c.Checkpoint(ctx)
	must(err)
	if !strings.Contains(string(signed), consistency.Value.ToRoot.String()) {
		t.Errorf("the checkpoint %s is not of root %s", signed, consistency.Value.ToRoot)
	}

	hook, err := c.CreateWebhook(ctx, client.NewWebhook{WebhookSpec: domain.WebhookSpec{URL: "http://127.0.0.1:1/hook", Service: "web"}, From: "now"})
	must(err)
	id := hook.Value.ID
	paused, err := c.PauseWebhook(ctx, id, "noise")
	must(err)
	_, err = c.ResumeWebhook(ctx, id)
	must(err)
	_, err = c.ReplayWebhook(ctx, id, "1h ago")
	must(err)
	hooks, err := c.Webhooks(ctx)
	must(err)
	shown, err := c.Webhook(ctx, id)
	must(err)
	if hook.Value.Secret == "" || !paused.Value.Paused || len(hooks.Value.Webhooks) != 1 || shown.Value.URL != "http://127.0.0.1:1/hook" {
		t.Errorf("the webhook is %+v, then %+v", hook.Value, shown.Value)
	}
	_, err = c.Deliveries(ctx, id, 5)
	must(err)
	log, err := c.History(ctx, client.HistoryQuery{Webhook: id})
	must(err)
	if len(log.Value.Entries) != 4 {
		t.Errorf("the webhook's history is %+v", log.Value.Entries)
	}
	must(c.DeleteWebhook(ctx, id, "done"))
	_, err = c.Backup(ctx, nil)
	if !errors.As(err, &refused) || refused.Type != wire.TypePrefix+"local-only" {
		t.Errorf("a backup over TCP gave %v", err)
	}
	local, ok, err := localClient(data, &commandLine{}, client.Options{})
	must(err)
	if !ok {
		t.Fatal("nobody listens on the data folder's socket")
	}
	archive, err := local.Backup(ctx, nil)
	must(err)
	if n, err := io.Copy(io.Discard, archive); err != nil || n == 0 || archive.Close() != nil {
		t.Errorf("the backup has %d bytes, %v", n, err)
	}
}
