package webhooks_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// many is how many of something a test has: the number that make torture asks for, or the small one.
func many(small, large int) int {
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		return large
	}
	return small
}

// Targets that accept and never answer, at many hosts, beside one that answers: it gets its events at once when it is
// known to answer, and the turns that hang are bounded.
func TestOneTargetIsNotHeldUpByManyThatHang(t *testing.T) {
	hosts, each := many(40, 300), 5
	r := start(t, func(o *webhooks.Options) {
		o.Timeout, o.AtOnce, o.FirstPause, o.MaxPause = 5*time.Second, many(64, 1024), time.Second, time.Second
	})
	for range hosts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		for range each {
			r.create(domain.WebhookSpec{URL: "http://" + l.Addr().String()})
		}
	}
	r.create(domain.WebhookSpec{}) // at the target that answers
	r.happen("a", 1)
	r.until("its first event", func(got []string) bool { return len(got) == 1 })
	var worst time.Duration
	for n := 2; n <= 20; n++ {
		began := time.Now()
		r.happen("a", 1)
		r.until("its next event", func(got []string) bool { return len(got) == n })
		worst = max(worst, time.Since(began))
	}
	t.Logf("%d targets that hang: the other gets an event within %s; %d goroutines", hosts*each, worst, runtime.NumGoroutine())
	if worst > 4*time.Second { // less than one attempt that hangs
		t.Errorf("an event took %s", worst)
	}
}

// Webhooks to which nothing is due cost some memory and no goroutine, and an event for one of them wakes no other.
func TestManyIdleWebhooksCostLittle(t *testing.T) {
	n := many(5_000, 50_000)
	store := eventstoretest.NewMemory()
	positions, err := webhooks.OpenPositions(filepath.Join(t.TempDir(), "webhooks.log"), nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	d := webhooks.New(webhooks.Options{Store: store, Positions: positions, Now: time.Now, Logger: quiet})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	all := make([]domain.Webhook, n)
	for i := range all {
		all[i] = domain.Webhook{ID: fmt.Sprint("w", i), Events: 1, Spec: domain.WebhookSpec{URL: fmt.Sprintf("http://h%d.example/x", i), Service: fmt.Sprint("s", i%100)}}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	began := time.Now()
	for _, w := range all {
		d.Changed(w)
	}
	go func() { done <- d.Run(ctx) }()
	d.Changed(all[0])
	took, after := time.Since(began), heap()
	per := (int64(after) - int64(before)) / int64(n)
	t.Logf("%d webhooks: %s, %d bytes each, %d goroutines more", n, took, per, runtime.NumGoroutine()-goroutines)
	if per > 1500 || runtime.NumGoroutine()-goroutines > 10 {
		t.Errorf("%d bytes a webhook, %d goroutines", per, runtime.NumGoroutine()-goroutines)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(all)
}

// The positions of an earlier version, a file for each webhook, are gone on from, and removed when the new file has them.
func TestPositionsOfAnEarlierVersionAreGoneOnFrom(t *testing.T) {
	var checkpoints *stream.Checkpoints
	r := start(t, func(o *webhooks.Options) {
		var err error
		if checkpoints, err = stream.OpenCheckpoints(t.TempDir()); err == nil {
			o.Positions, err = webhooks.OpenPositions(filepath.Join(t.TempDir(), "webhooks.log"), checkpoints, quiet)
		}
		if err != nil {
			t.Fatal(err)
		}
		o.SaveEvery = time.Millisecond
	})
	r.happen("a", 4) // positions 1 to 4
	sealed, err := r.secrets.Seal(r.secret)
	if err != nil {
		t.Fatal(err)
	}
	consumer := "webhook-old-0/" + r.target.URL
	if err := checkpoints.Save(consumer, wire.Position{Number: 2}); err != nil {
		t.Fatal(err)
	}
	if err := r.command.Do(t.Context(), commands.Caller{}, "old", domain.CreateWebhook{Spec: domain.WebhookSpec{URL: r.target.URL}, Secret: sealed}); err != nil {
		t.Fatal(err)
	}
	r.until("the last two", func(got []string) bool {
		return len(got) == 2 && got[0] == "default/web/a@2" && got[1] == "default/web/a@3"
	})
	r.until("the old file to go", func([]string) bool {
		_, there, err := checkpoints.Load(consumer)
		return err == nil && !there
	})
}
