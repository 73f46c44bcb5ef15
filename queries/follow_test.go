package queries_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// told is an update in words.
func told(u queries.Update, err error) string {
	switch u := u.(type) {
	case nil:
		return err.Error()
	case queries.Snapshot:
		var ids []string
		var d struct { // of a service, or of more
			wire.InstanceList
			Services []wire.ServiceInstances
		}
		if err := json.Unmarshal(u.JSON.Bytes, &d); err != nil {
			return err.Error()
		}
		for _, s := range append(d.Services, wire.ServiceInstances{Instances: d.Instances}) {
			for _, i := range s.Instances {
				ids = append(ids, i.Service+"/"+i.ID)
			}
		}
		return fmt.Sprintf("snapshot at %d, reset %v: %s", u.At, u.Reset, strings.Join(ids, " "))
	case queries.Changes:
		var words []string
		for _, c := range u {
			shown := c.Show()
			words = append(words, fmt.Sprintf("%d %s %s/%s", c.Position(), shown.Op, shown.Service, shown.ID))
		}
		return strings.Join(words, ", ")
	case queries.Events:
		var words []string
		for _, e := range u {
			words = append(words, fmt.Sprintf("%d %s", e.Position, e.Type))
		}
		return strings.Join(words, ", ")
	case queries.KeepAlive:
		return u.Note
	case queries.Cut:
		reason, _, _ := strings.Cut(u.Reason, ":")
		return fmt.Sprintf("cut at %d: %s", u.At, reason)
	}
	return fmt.Sprintf("%#v", u)
}

type nexter interface {
	Next(context.Context) (queries.Update, error)
}

// expect asks for the next updates.
func expect(t *testing.T, f nexter, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := told(f.Next(t.Context())); got != w {
			t.Errorf("the follower was told %q, want %q", got, w)
		}
	}
}

func follow(t *testing.T, r *rig, q queries.FollowQuery) *queries.Following {
	t.Helper()
	f, err := r.Follow(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestAFollowerIsToldWhatIsAndWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "z0")
		r.register(key("cart", "a"), "z0")
		service, all := follow(t, r, queries.FollowQuery{Service: web}), follow(t, r, queries.FollowQuery{})
		expect(t, service, "snapshot at 2, reset false: web/a")
		expect(t, all, "snapshot at 2, reset false: cart/a web/a")
		r.register(key("web", "b"), "z0")
		r.deregister(key("cart", "a"))
		r.register(key("web", "b"), "z1")
		expect(t, service, "3 put web/b, 5 put web/b")
		expect(t, all, "3 put web/b, 4 delete cart/a, 5 put web/b")
		r.deregister(key("web", "a"))
		expect(t, service, "6 delete web/a")
	})
}

// No follower waits for a clock: a change is told as soon as the follower asks, however soon after the change before.
func TestQuickChangesAreToldWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		var followers []*queries.Following
		for range 40 { // more than are woken at once
			f := follow(t, r, queries.FollowQuery{Service: web})
			expect(t, f, "snapshot at 0, reset false: ")
			followers = append(followers, f)
		}
		began := time.Now()
		for i := range 3 {
			r.register(key("web", fmt.Sprint(i)), "")
			for _, f := range followers {
				expect(t, f, fmt.Sprintf("%d put web/%d", i+1, i))
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the followers waited for %s", d)
		}
	})
}

// An instance that begins to match is put, one that ceases to is deleted, and the rest is not told.
func TestAFollowersFilterDecidesWhatAChangeIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "z0")
		r.register(key("web", "b"), "z1")
		f := follow(t, r, queries.FollowQuery{Service: web, Filter: queries.InstanceFilter{Zone: "z0"}})
		expect(t, f, "snapshot at 2, reset false: web/a")
		r.register(key("web", "b"), "z0")
		r.register(key("web", "a"), "z2")
		r.register(key("web", "a"), "z3")
		r.deregister(key("web", "b"))
		expect(t, f, "3 put web/b, 4 delete web/a, 6 delete web/b")
		other := follow(t, r, queries.FollowQuery{Namespace: "shop"})
		expect(t, other, "snapshot at 6, reset false: ")
		r.register(key("web", "c"), "z0")
		r.register(domain.Key{Namespace: "shop", Service: "web", ID: "s"}, "")
		expect(t, other, "8 put web/s")
	})
}

func TestAQuietStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		f := follow(t, r, queries.FollowQuery{Service: web})
		expect(t, f, "snapshot at 0, reset false: ")
		began := time.Now()
		expect(t, f, "still here", "still here")
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("two signs of life came within %s", d)
		}
	})
}

// A follower that goes on and missed nothing is told so at once: it does not know yet that the registry is there.
func TestAFollowerThatMissedNothingIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "")
		r.register(key("web", "b"), "")
		began := time.Now()
		for after, want := range map[uint64][]string{2: {"still here"}, 1: {"2 put web/b", "still here"}} {
			at := wire.Position{Number: eventstore.Position(after)}
			f := follow(t, r, queries.FollowQuery{Service: web, After: &at})
			expect(t, f, want...)
			if d := time.Since(began); d != 0 {
				t.Errorf("after %d it took %s", after, d)
			}
			f.Close()
		}
	})
}

func TestAFollowerGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		for i := range 5 {
			r.register(key("web", fmt.Sprint(i)), "")
		}
		f := follow(t, r, queries.FollowQuery{Service: web, After: &wire.Position{Number: 3}})
		expect(t, f, "4 put web/3, 5 put web/4")
	})
}

// A position that was not given yet is of a log that was lost and begun anew.
func TestAFollowerFromBehindTheEndIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "")
		f := follow(t, r, queries.FollowQuery{Service: web, After: &wire.Position{Number: 6}})
		expect(t, f, "snapshot at 1, reset true: web/a")
		r.register(key("web", "b"), "")
		expect(t, f, "2 put web/b")
	})
}

// A follower that comes from another timeline is told everything anew.
func TestAFollowerOfAnotherTimelineIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "")
		f := follow(t, r, queries.FollowQuery{Service: web, After: &wire.Position{Number: 77, Timeline: "1f"}})
		expect(t, f, "snapshot at 1, reset true: web/a")
	})
}

// What the feed has no more is read from the store.
func TestAFollowerCatchesUpFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "z0")
		r.register(key("web", "b"), "z0")
		for i := range 20_000 { // more than the feed keeps
			r.append(eventstore.LifecycleStream(key("web", "a")), domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining, Reason: fmt.Sprint(i)})
		}
		r.deregister(key("web", "b"))
		f := follow(t, r, queries.FollowQuery{Service: web, After: &wire.Position{Number: 1}})
		expect(t, f, "catching up")
		u, err := f.Next(t.Context())
		changes, ok := u.(queries.Changes)
		if !ok || err != nil || len(changes) != 20_002 || changes[0].Position() != 2 || changes[20_001].Position() != 20_003 {
			t.Fatalf("it was told %T with %d changes, %v", u, len(changes), err)
		}
		r.register(key("web", "c"), "")
		expect(t, f, "20004 put web/c")
	})
}

// A follower that is too far behind is cut off, and told so.
func TestASlowFollowerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "z0")
		f := follow(t, r, queries.FollowQuery{Service: web})
		expect(t, f, "snapshot at 1, reset false: web/a")
		for i := range 20_000 {
			r.append(eventstore.LifecycleStream(key("web", "a")), domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining, Reason: fmt.Sprint(i)})
		}
		r.apply(20_001)
		expect(t, f, "cut at 1: too slow", io.EOF.Error())
	})
}

// Of many followers each that waits takes the changes where it is told of them, without the end of its wait. What is no change ends it.
func TestManyFollowersTakeChangesWhereTheyAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "z0")
		const followers = 40
		var taken [followers][]string
		var all [followers]*queries.Following
		for i := range all {
			q := queries.FollowQuery{Service: web}
			if i%2 == 1 {
				q.Filter.Zone = "z1"
			}
			q.Tell = func() bool {
				changes, more := all[i].TakeChanges()
				if len(changes) > 0 {
					taken[i] = append(taken[i], told(changes, nil))
				}
				return !more
			}
			all[i] = follow(t, r, q)
			if _, more := all[i].TakeChanges(); !more {
				t.Error("changes were taken before the snapshot")
			}
			if _, err := all[i].Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if u, err := all[i].Take(t.Context()); u != nil || err != nil {
				t.Fatal(u, err)
			}
		}
		r.register(key("web", "b"), "z0")
		r.register(key("cart", "b"), "z1")
		synctest.Wait()
		r.register(key("web", "b"), "z1")
		synctest.Wait()
		for i := range all {
			want := []string{"2 put web/b", "4 put web/b"}
			if i%2 == 1 {
				want = want[1:]
			}
			if !slices.Equal(taken[i], want) {
				t.Errorf("follower %d took %q, want %q", i, taken[i], want)
			}
		}
		expect(t, all[0], "still here")
		r.stop()
		for _, f := range all {
			expect(t, f, "cut at 4: stopping", io.EOF.Error())
		}
	})
}

// When the registry stops, every follower is told so, and can go on elsewhere.
func TestFollowersAreCutWhenTheRegistryStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "")
		f := follow(t, r, queries.FollowQuery{Service: web})
		expect(t, f, "snapshot at 1, reset false: web/a")
		log, err := r.FollowEvents(t.Context(), queries.Selection{}, queries.Span{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		expect(t, log, "1 InstanceRegistered")
		time.AfterFunc(time.Second, r.stop)
		expect(t, f, "cut at 1: stopping", io.EOF.Error())
		expect(t, log, "cut at 1: stopping", io.EOF.Error())
		if _, err := r.Follow(t.Context(), queries.FollowQuery{}); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("a new follower: %v", err)
		}
		if _, err := r.FollowEvents(t.Context(), queries.Selection{}, queries.Span{}); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("a new follower of the log: %v", err)
		}
	})
}

func TestAFollowerOfTheLogIsToldWhatItSelected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		for _, id := range []string{"a", "a1"} {
			r.register(key("web", id), "")
			r.append(eventstore.HeartbeatStream(key("web", id)), domain.HeartbeatReceived{Epoch: 1})
		}
		beats, err := r.FollowEvents(t.Context(), queries.Selection{Types: []string{domain.TypeHeartbeatReceived}}, queries.Span{})
		if err != nil {
			t.Fatal(err)
		}
		defer beats.Close()
		one, err := r.FollowEvents(t.Context(), queries.Selection{Service: "web", Instance: "a", Heartbeats: true}, queries.Span{})
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		expect(t, beats, "2 HeartbeatReceived, 4 HeartbeatReceived")
		expect(t, one, "1 InstanceRegistered, 2 HeartbeatReceived")
		began := time.Now()
		expect(t, one, "still here")
		if d := time.Since(began); d != 15*time.Second {
			t.Errorf("the sign of life came after %s", d)
		}
		r.append(eventstore.HeartbeatStream(key("web", "a1")), domain.HeartbeatReceived{Epoch: 1})
		r.append(eventstore.HeartbeatStream(key("web", "a")), domain.HeartbeatReceived{Epoch: 1})
		expect(t, one, "6 HeartbeatReceived")
	})
}

func TestAFollowerThatLeavesIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := follow(t, r, queries.FollowQuery{})
		if _, err := f.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if u, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was told %v, %v", u, err)
		}
		log, err := r.FollowEvents(t.Context(), queries.Selection{}, queries.Span{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if u, err := log.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was told %v, %v", u, err)
		}
	})
}
