package webhooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	list "github.com/rollcall-registry/rollcall/projections/webhooks"
)

var quiet = slog.New(slog.DiscardHandler)

// rig is a store with webhooks that are delivered to a target.
type rig struct {
	t       *testing.T
	store   eventstore.Store
	list    *list.List
	command *commands.Webhooks
	secrets *webhooks.Secrets
	log     *webhooks.Log
	target  *httptest.Server
	secret  string

	mu     sync.Mutex
	answer func(e cloudevents.Event) int // status
	after  string                        // Retry-After of each answer that is a failure
	got    []string                      // subjects and revisions of what was accepted, in order
	wake   chan struct{}
}

func start(t *testing.T, change func(*webhooks.Options)) *rig {
	r := &rig{t: t, store: eventstoretest.NewMemory(), wake: make(chan struct{}, 1), answer: func(cloudevents.Event) int { return 204 }}
	dir := t.TempDir()
	var err error
	if r.list, err = list.Open(t.Context(), r.store); err != nil {
		t.Fatal(err)
	}
	if r.secrets, err = webhooks.LoadSecrets(dir + "/key"); err != nil {
		t.Fatal(err)
	}
	if r.log, err = webhooks.OpenLog(dir+"/log", quiet); err != nil {
		t.Fatal(err)
	}
	checkpoints, err := stream.OpenCheckpoints(dir + "/consumers")
	if err != nil {
		t.Fatal(err)
	}
	positions, err := webhooks.OpenPositions(dir+"/consumers/webhooks.log", checkpoints, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if r.secret, err = r.secrets.New(""); err != nil {
		t.Fatal(err)
	}
	r.target = httptest.NewServer(http.HandlerFunc(r.take))
	r.command = &commands.Webhooks{Store: r.store, WaitFor: r.list.WaitFor}
	opts := webhooks.Options{
		Store: r.store, Positions: positions, Secrets: r.secrets, Log: r.log, StoreID: "s", Allow: true, Timeout: 2 * time.Second, FirstPause: time.Millisecond, MaxPause: 4 * time.Millisecond,
		Rate: 100_000, Now: time.Now, Logger: quiet,
		Pause: func(ctx context.Context, id, reason string) error {
			return r.command.Do(ctx, commands.Caller{Actor: "rollcall"}, id, domain.PauseWebhook{Reason: reason})
		},
	}
	if change != nil {
		change(&opts)
	}
	d := webhooks.New(opts)
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := r.list.Run(ctx, r.store, quiet, d.Changed); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		group.Wait()
		r.target.Close()
		if err := errors.Join(r.log.Close(), r.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// take is the target: it checks the signature and answers as it is told to.
func (r *rig) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was stopped
	}
	verifier, err := standardwebhooks.NewWebhook(r.secret)
	if err == nil {
		err = verifier.Verify(body, req.Header)
	}
	var e cloudevents.Event
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil || e.ID() != req.Header.Get("webhook-id") {
		r.t.Errorf("the target was sent %s: %v", body, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.answer(e)
	if status >= 300 && r.after != "" {
		w.Header().Set("Retry-After", r.after)
	}
	if status < 300 {
		r.got = append(r.got, fmt.Sprintf("%s@%v", e.Subject(), e.Extensions()["revision"]))
	}
	w.WriteHeader(status)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// until waits until a condition on what the target has got holds.
func (r *rig) until(what string, holds func(got []string) bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok := holds(r.got)
		got := strings.Join(r.got, " ")
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.wake:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			r.t.Fatalf("%s: the target has got %s", what, got)
		}
	}
}

func (r *rig) create(spec domain.WebhookSpec) string {
	r.t.Helper()
	sealed, err := r.secrets.Seal(r.secret)
	if err != nil {
		r.t.Fatal(err)
	}
	if spec.URL == "" {
		spec.URL = r.target.URL
	}
	target, err := r.secrets.SealURL(spec.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := r.command.Create(r.t.Context(), commands.Caller{Actor: "ann"}, domain.CreateWebhook{Spec: spec, Secret: sealed, Target: target})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *rig) happen(id string, n int) {
	r.t.Helper()
	for range n {
		if _, err := r.store.Append(r.t.Context(), nil, eventstore.AppendRequest{
			Stream: eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: id}),
			Events: []eventstore.EventData{{Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"ann"}`)}},
		}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) attempts(id string) (all []webhooks.Attempt) {
	r.t.Helper()
	raw, err := r.log.Newest(id, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range raw {
		var a webhooks.Attempt
		if err := json.Unmarshal(b, &a); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestATargetThatFailsGetsEveryEventInOrder(t *testing.T) {
	r := start(t, nil)
	n := 0
	r.answer = func(cloudevents.Event) int {
		if n++; n%3 != 0 {
			return 503
		}
		return 200
	}
	id := r.create(domain.WebhookSpec{})
	r.happen("a", 20)
	want := ""
	for i := range 20 {
		want += fmt.Sprintf("default/web/a@%d ", i)
	}
	r.until("all events", func(got []string) bool { return strings.Join(got, " ")+" " == want })
	r.until("the log", func([]string) bool { return len(r.attempts(id)) == 60 })
	for i, a := range r.attempts(id) {
		if a.Delivered != (a.Attempt == 3) || a.Delivered != (i%3 == 0) || a.Event == "" || a.Type != domain.TypeHealthChanged {
			t.Errorf("attempt %d is %+v", i, a)
		}
	}
}

func TestARejectedEventIsPassedOver(t *testing.T) {
	r := start(t, nil)
	r.answer = func(e cloudevents.Event) int {
		if fmt.Sprint(e.Extensions()["revision"]) == "1" {
			return 422
		}
		return 200
	}
	id := r.create(domain.WebhookSpec{})
	r.happen("a", 3)
	r.until("the others", func(got []string) bool { return strings.Join(got, " ") == "default/web/a@0 default/web/a@2" })
	r.until("the log", func([]string) bool { return len(r.attempts(id)) == 3 })
	if all := r.attempts(id); all[1].Delivered || all[1].Status != 422 {
		t.Errorf("the log has %+v", all)
	}
}

func TestPauseResumeReplayAndDelete(t *testing.T) {
	r := start(t, nil)
	do := func(id string, c domain.WebhookCommand) {
		t.Helper()
		if err := r.command.Do(t.Context(), commands.Caller{}, id, c); err != nil {
			t.Fatal(err)
		}
	}
	id := r.create(domain.WebhookSpec{Service: "web"})
	r.happen("a", 2)
	r.until("two", func(got []string) bool { return len(got) == 2 })
	do(id, domain.PauseWebhook{Reason: "noise"})
	r.happen("a", 2)
	do(id, domain.ResumeWebhook{})
	r.until("four, none twice", func(got []string) bool {
		return strings.Join(got, " ") == "default/web/a@0 default/web/a@1 default/web/a@2 default/web/a@3"
	})
	do(id, domain.ReplayWebhook{After: 0})
	r.until("all again", func(got []string) bool {
		return len(got) == 8 && got[4] == "default/web/a@0" && got[7] == "default/web/a@3"
	})
	do(id, domain.DeleteWebhook{})
	r.happen("a", 1)
	other := r.create(domain.WebhookSpec{})
	r.until("all once more, by another webhook", func(got []string) bool { return len(got) == 13 })
	r.until("the log of the other one", func([]string) bool { return len(r.attempts(other)) == 5 })
	// A deleted webhook makes no attempt any more, and the log keeps nothing of it.
	r.until("an end of the deleted one's log", func([]string) bool { return len(r.attempts(id)) == 0 })
}

func TestATargetThatFailsForLongIsPaused(t *testing.T) {
	r := start(t, func(o *webhooks.Options) { o.PauseAfter = 20 * time.Millisecond })
	r.answer = func(cloudevents.Event) int { return 500 }
	id := r.create(domain.WebhookSpec{})
	r.happen("a", 1)
	r.until("a pause", func([]string) bool { w, _ := r.list.Find(id); return w.Paused })
	if w, _ := r.list.Find(id); !strings.Contains(w.Reason, "500 Internal Server Error") {
		t.Errorf("the reason is %q", w.Reason)
	}
	r.mu.Lock()
	r.answer = func(cloudevents.Event) int { return 200 }
	r.mu.Unlock()
	if err := r.command.Do(t.Context(), commands.Caller{}, id, domain.ResumeWebhook{}); err != nil {
		t.Fatal(err)
	}
	r.until("what was due", func(got []string) bool { return len(got) == 1 })
}

// A name, and a webhook from when private targets were allowed, are looked at again when they are dialed.
func TestAPrivateTargetIsNotDialed(t *testing.T) {
	r := start(t, func(o *webhooks.Options) { o.Allow = false })
	id := r.create(domain.WebhookSpec{URL: strings.Replace(r.target.URL, "127.0.0.1", "localhost", 1)})
	direct := r.create(domain.WebhookSpec{})
	r.happen("a", 1)
	r.until("attempts", func([]string) bool { return len(r.attempts(id)) > 0 && len(r.attempts(direct)) > 0 })
	for _, id := range []string{id, direct} {
		if a := r.attempts(id)[0]; a.Delivered || !strings.Contains(a.Error, "not allowed") {
			t.Errorf("a private target: %+v", a)
		}
	}
}

func TestARedirectIsFollowedWithinLimits(t *testing.T) {
	hops := 0
	var around *httptest.Server
	around = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops++
		http.Redirect(w, r, around.URL, http.StatusTemporaryRedirect)
	}))
	defer around.Close()
	r := start(t, nil)
	id := r.create(domain.WebhookSpec{URL: around.URL})
	r.happen("a", 1)
	r.until("an attempt", func([]string) bool { return len(r.attempts(id)) > 0 })
	if a := r.attempts(id); a[len(a)-1].Delivered || !strings.Contains(a[len(a)-1].Error, "redirects more than 3 times") {
		t.Errorf("a redirect in circles: %+v", a[len(a)-1])
	}
}

// After 301, 302 and 303 net/http sends a GET without the event.
func TestARedirectThatWouldDropTheEventIsNoDelivery(t *testing.T) {
	for status, delivered := range map[int]bool{301: false, 302: false, 303: false, 307: true, 308: true} {
		r := start(t, nil)
		elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, r.target.URL, status) }))
		t.Cleanup(elsewhere.Close)
		id := r.create(domain.WebhookSpec{URL: elsewhere.URL})
		r.happen("a", 1)
		r.until("an attempt", func([]string) bool { return len(r.attempts(id)) > 0 })
		if a := r.attempts(id)[0]; a.Delivered != delivered || !delivered && !strings.Contains(a.Error, "the event would not be sent") {
			t.Errorf("%d: %+v", status, a)
		}
	}
}

// After 101 comes the bare connection, whose reads no timeout ends: the attempt fails at once, and does not keep its turn.
func TestATargetThatBeginsAnotherProtocolFails(t *testing.T) {
	done := make(chan struct{})
	switches := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		_ = http.NewResponseController(w).Flush()
		<-done
	}))
	defer switches.Close()
	defer close(done)
	r := start(t, nil)
	id := r.create(domain.WebhookSpec{URL: switches.URL})
	r.happen("a", 1)
	r.until("a second attempt", func([]string) bool { return len(r.attempts(id)) > 1 })
	if a := r.attempts(id)[0]; a.Delivered || a.Status != http.StatusSwitchingProtocols {
		t.Errorf("the attempt is %+v", a)
	}
}

func TestSecretsKeep(t *testing.T) {
	path := t.TempDir() + "/key"
	s, err := webhooks.LoadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.New("")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(secret)
	if err != nil || strings.Contains(string(sealed), secret) {
		t.Fatal("it is not sealed", err)
	}
	again, err := webhooks.LoadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(sealed); err != nil || got != secret {
		t.Errorf("got %q, %v", got, err)
	}
	sealed[len(sealed)-1]++
	if _, err := again.Open(sealed); err == nil {
		t.Error("a changed secret opens")
	}
	for _, bad := range []string{"", "whsec_", "whsec_!!!", "secret", "whsec_c2hvcnQ="} {
		if _, err := s.Seal(bad); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
