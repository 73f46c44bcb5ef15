package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

var checkout = domain.Key{Namespace: "default", Service: "checkout", ID: "a-1"}

// at is a registration with a ttl of 30 s.
func at(key domain.Key) client.Registration {
	return client.Registration{Key: key, Details: domain.Details{Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}}}
}

// kept keeps an instance and waits until it is registered.
func kept(t *testing.T, ctx context.Context, c *client.Client, r client.Registration) *client.Kept {
	t.Helper()
	k, err := c.Keep(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	waiting, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := k.WaitRegistered(waiting); err != nil {
		t.Fatal(err)
	}
	return k
}

// live runs a registry that expires leases, until the test ends.
func live(t *testing.T) *clienttest.Registry {
	r := clienttest.New()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				r.Expire()
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return r
}

func TestAKeptInstanceStaysRegisteredAndIsDeregisteredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		ctx, end := context.WithCancelCause(t.Context())
		k := kept(t, ctx, r.Client(client.Options{}), at(checkout))
		time.Sleep(time.Hour)
		if i := r.Instance(checkout); !i.Live() || i.Epoch != 1 || k.State().Epoch != 1 {
			t.Errorf("after an hour: %+v", i)
		}
		if asked := r.Asked(); len(asked) < 300 || len(asked) > 450 {
			t.Errorf("asked %d times in an hour with a ttl of 30 s", len(asked))
		}
		end(errors.New("deployed v2"))
		<-k.Done()
		if i, state := r.Instance(checkout), k.State(); i.Phase != domain.Deregistered || state.Phase != client.Ended || state.Err != nil {
			t.Errorf("after the end: %+v, %+v", i, state)
		}
	})
}

func TestHeartbeatsOfManyInstancesGoInOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		c := r.Client(client.Options{})
		ctx, end := context.WithCancel(t.Context())
		var all []*client.Kept
		for n := range 1000 {
			k, err := c.Keep(ctx, at(domain.Key{Service: "checkout", ID: fmt.Sprint("i-", n)}))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
			if n%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Minute)
		r.Asked()
		time.Sleep(10 * time.Minute)
		if asked := r.Asked(); len(asked) > 80 {
			t.Errorf("asked %d times in 10 minutes: %q", len(asked), asked[:10])
		}
		for _, k := range all {
			if s := k.State(); s.Phase != client.Registered || s.Epoch != 1 {
				t.Fatalf("%s: %+v", k.Key, s)
			}
		}
		end()
		for _, k := range all {
			<-k.Done()
		}
		if asked := r.Asked(); len(asked) > 10 {
			t.Errorf("asked %d times to deregister", len(asked))
		}
	})
}

func TestALostRegistryNeverEndsTheKeeping(t *testing.T) {
	for name, lose := range map[string]func(*clienttest.Registry){
		"refused":   func(r *clienttest.Registry) { r.SetAway(errors.New("connection refused")) },
		"swallowed": func(r *clienttest.Registry) { r.SetSwallow(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := live(t)
				ctx, end := context.WithCancel(t.Context())
				changes := make(chan client.State, 100)
				wanted := at(checkout)
				wanted.OnChange = func(s client.State) { changes <- s }
				k := kept(t, ctx, r.Client(client.Options{}), wanted)
				lose(r)
				time.Sleep(time.Hour)
				if s := k.State(); s.Phase != client.Registered || s.Err == nil || time.Since(s.Failing) < 59*time.Minute || time.Since(s.Heard) < 59*time.Minute {
					t.Errorf("while the registry is lost: %+v", s)
				}
				if asked := r.Asked(); len(asked) > 2000 {
					t.Errorf("asked %d times in an hour", len(asked))
				}
				r.SetAway(nil)
				r.SetSwallow(false)
				time.Sleep(20 * time.Second)
				if s := k.State(); s.Phase != client.Registered || s.Err != nil || s.Epoch != 2 { // the lease expired
					t.Errorf("after the registry came back: %+v", s)
				}
				var last client.State
				for len(changes) > 0 {
					last = <-changes
				}
				if last.Epoch != 2 || last.Err != nil {
					t.Errorf("OnChange was told %+v last", last)
				}
				lose(r)
				end()
				began := time.Now()
				<-k.Done()
				if s := k.State(); s.Phase != client.Ended || s.Err == nil || time.Since(began) != client.DefaultGrace {
					t.Errorf("an end without the registry took %v: %+v", time.Since(began), s)
				}
			})
		})
	}
}

func TestAKeptInstanceComesBackFromEveryLoss(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *clienttest.Registry){
		"deregistered by somebody": func(t *testing.T, r *clienttest.Registry) {
			if err := r.Do(domain.DeregisterInstance{Key: checkout}); err != nil {
				t.Fatal(err)
			}
		},
		"expired": func(t *testing.T, r *clienttest.Registry) {
			r.SetAway(errors.New("away"))
			time.Sleep(time.Minute)
			r.SetAway(nil)
		},
		"restored without it": func(_ *testing.T, r *clienttest.Registry) { r.Restore(nil) },
		"restored with an earlier registration": func(t *testing.T, r *clienttest.Registry) {
			earlier := clienttest.New()
			if err := earlier.Do(domain.RegisterInstance{Key: checkout, Owner: "predecessor", Details: domain.Details{Address: "10.0.0.9", Weight: 1, TTL: domain.Duration(time.Hour)}}); err != nil {
				t.Fatal(err)
			}
			r.Restore(earlier.Backup())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := live(t)
				if err := r.Do(domain.RegisterInstance{Key: checkout, Owner: "predecessor", Details: domain.Details{Address: "10.0.0.9", Weight: 1, TTL: domain.Duration(time.Hour)}}); err != nil {
					t.Fatal(err)
				}
				ctx, end := context.WithCancel(t.Context())
				k := kept(t, ctx, r.Client(client.Options{}), at(checkout)) // in place of the process that has ended
				if err := k.ReportHealth(client.Health{Status: domain.Warning, Output: "slow disk"}); err != nil {
					t.Fatal(err)
				}
				if err := k.ChangeTraffic(domain.Draining, "busy"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				lose(t, r)
				time.Sleep(30 * time.Second)
				i := r.Instance(checkout)
				if !i.Live() || i.Status != domain.Warning || i.Traffic != domain.Draining || i.Details.Address != "10.0.0.5" {
					t.Errorf("after the loss: %+v", i)
				}
				if s := k.State(); s.Phase != client.Registered || s.Err != nil || s.Epoch != i.Epoch {
					t.Errorf("the state is %+v, the epoch %d", s, i.Epoch)
				}
				end()
				<-k.Done()
			})
		})
	}
}

func TestARestoredRegistryIsToldWhatItForgot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		ctx, end := context.WithCancel(t.Context())
		k := kept(t, ctx, r.Client(client.Options{}), at(checkout))
		backup := r.Backup()
		if err := k.Update(domain.Details{Address: "10.0.0.5", Version: "v2"}); err != nil {
			t.Fatal(err)
		}
		if err := k.ReportHealth(client.Health{Status: domain.Critical}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.Restore(backup)
		time.Sleep(15 * time.Second)
		if i := r.Instance(checkout); i.Details.Version != "v2" || i.Status != domain.Critical || i.Epoch != 1 {
			t.Errorf("after the restore: %+v", i)
		}
		end()
		<-k.Done()
	})
}

func TestASuccessorIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		c := r.Client(client.Options{})
		old := kept(t, t.Context(), c, at(checkout))
		successor := domain.RegisterInstance{Key: checkout, Owner: "successor", Details: domain.Details{Address: "10.0.0.6", TTL: domain.Duration(time.Hour)}}
		if err := r.Do(successor); err != nil {
			t.Fatal(err)
		}
		<-old.Done()
		if s := old.State(); s.Phase != client.Replaced || !strings.Contains(s.Err.Error(), "successor") {
			t.Errorf("the replaced process: %+v", s)
		}
		if i := r.Instance(checkout); i.Owner != "successor" || i.Epoch != 2 {
			t.Errorf("the successor: %+v", i)
		}
		// One that was expired and replaced meanwhile does not come back either.
		ctx, end := context.WithCancel(t.Context())
		other := domain.Key{Namespace: "default", Service: "checkout", ID: "b"}
		late := kept(t, ctx, c, at(other))
		if err := r.Do(domain.DeregisterInstance{Key: other}); err != nil {
			t.Fatal(err)
		}
		successor.Key = other
		if err := r.Do(successor); err != nil {
			t.Fatal(err)
		}
		<-late.Done()
		if i := r.Instance(other); i.Owner != "successor" || late.State().Phase != client.Replaced {
			t.Errorf("the second: %+v, %+v", i, late.State())
		}
		end()
	})
}

func TestTheEndDrainsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		ctx, end := context.WithCancel(t.Context())
		wanted := at(checkout)
		wanted.Drain, wanted.Reason = time.Minute, "node a is replaced"
		k := kept(t, ctx, r.Client(client.Options{}), wanted)
		end()
		time.Sleep(59 * time.Second)
		if i := r.Instance(checkout); !i.Live() || i.Traffic != domain.Draining {
			t.Errorf("while it drains: %+v", i)
		}
		time.Sleep(2 * time.Second)
		select {
		case <-k.Done():
		default:
			t.Error("the end is not over")
		}
		if i := r.Instance(checkout); i.Phase != domain.Deregistered {
			t.Errorf("after the end: %+v", i)
		}
	})
}

func TestAnEndBeforeTheRegistrationAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		ctx, end := context.WithCancel(t.Context())
		end()
		k, err := r.Client(client.Options{}).Keep(ctx, at(checkout))
		if err != nil {
			t.Fatal(err)
		}
		<-k.Done()
		if i := r.Instance(checkout); i.Live() || k.State().Err != nil {
			t.Errorf("%+v, %+v", i, k.State())
		}
	})
}

func TestMistakesAreRefusedAtOnce(t *testing.T) {
	c := clienttest.New().Client(client.Options{})
	for name, r := range map[string]client.Registration{
		"id":      {Key: domain.Key{Service: "checkout", ID: "a b"}, Details: domain.Details{Address: "10.0.0.5"}},
		"address": {Key: checkout, Details: domain.Details{Address: "0.0.0.0"}},
		"ttl":     {Key: checkout, Details: domain.Details{Address: "10.0.0.5", TTL: domain.Duration(time.Millisecond)}},
		"reason":  {Key: checkout, Details: domain.Details{Address: "10.0.0.5"}, Reason: strings.Repeat("a", 10_000)},
	} {
		if _, err := c.Keep(t.Context(), r); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		c := r.Client(client.Options{})
		ctx, end := context.WithCancel(t.Context())
		k := kept(t, ctx, c, at(checkout))
		if _, err := c.Keep(ctx, at(checkout)); !errors.As(err, new(client.AlreadyKept)) {
			t.Errorf("kept twice: %v", err)
		}
		end()
		<-k.Done()
		again, err := c.Keep(t.Context(), at(checkout))
		if err != nil {
			t.Fatal(err)
		}
		again.End("")
		<-again.Done()
	})
}

func TestLargeRegistrationsGoInSeveralRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		c := r.Client(client.Options{})
		ctx, end := context.WithCancel(t.Context())
		var all []*client.Kept
		for n := range 200 {
			large := at(domain.Key{Service: "checkout", ID: fmt.Sprint("i-", n)})
			large.Details.Metadata = map[string]string{"a": strings.Repeat("x", 4000), "b": strings.Repeat("y", 4000), "c": strings.Repeat("z", 4000)}
			k, err := c.Keep(ctx, large)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
		}
		time.Sleep(time.Second)
		for _, k := range all {
			if k.State().Phase != client.Registered {
				t.Fatalf("%s: %+v", k.Key, k.State())
			}
		}
		if asked := r.Asked(); len(asked) < 3 || len(asked) > 10 {
			t.Errorf("2.4 MB of registrations went in %d requests", len(asked))
		}
		end()
		for _, k := range all {
			<-k.Done()
		}
	})
}
