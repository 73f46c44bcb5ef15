package queries_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

var web = domain.ServiceKey{Namespace: "default", Service: "web"}

func parseWait(t *testing.T, index, wait string) *queries.Wait {
	t.Helper()
	w, err := queries.ParseWait(index, wait)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Whoever waits is answered when its service changes, and not when another does.
func TestAWaitEndsWithTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		first := r.register(key("web", "a"), "z0")
		began := time.Now()
		time.AfterFunc(3*time.Second, func() { r.register(key("cart", "a"), "z0") })
		time.AfterFunc(7*time.Second, func() { r.register(key("web", "b"), "z0") })
		if err := r.Await(t.Context(), web, parseWait(t, fmt.Sprint(first), "1m")); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 7*time.Second {
			t.Errorf("it waited %s", waited)
		}
		began = time.Now()
		if err := r.Await(t.Context(), web, parseWait(t, fmt.Sprint(first), "1m")); err != nil || time.Since(began) != 0 {
			t.Errorf("a wait for what has changed took %s, %v", time.Since(began), err)
		}
	})
}

// A wait without a change ends at its time, spread by a sixteenth.
func TestAWaitEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		w := parseWait(t, "0", "32s")
		began := time.Now()
		if err := r.Await(t.Context(), domain.ServiceKey{}, w); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 32*time.Second || waited > w.Longest() || w.Longest() != 34*time.Second {
			t.Errorf("it waited %s", waited)
		}
	})
}

func TestAWaitEndsWhenTheRegistryStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		began := time.Now()
		time.AfterFunc(time.Second, r.stop)
		if err := r.Await(t.Context(), web, parseWait(t, "0", "")); err != nil || time.Since(began) != time.Second {
			t.Errorf("it waited %s, %v", time.Since(began), err)
		}
	})
}

func TestAWaitEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Await(ctx, web, parseWait(t, "0", "")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// A position of another timeline is none that this store will ever be at.
func TestAWaitForAnotherTimelineIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		began := time.Now()
		if err := r.Await(t.Context(), web, parseWait(t, "0-1f", "")); err != nil || time.Since(began) != 0 {
			t.Errorf("it waited %s, %v", time.Since(began), err)
		}
	})
}

func TestBadWaitsAreRefused(t *testing.T) {
	for _, c := range [][3]string{{"", "1y", "wait"}, {"x", "", "index"}, {"0", "x", "wait"}, {"0", "-1s", "wait"}, {"0", "6m", "wait"}} {
		var invalid domain.InvalidField
		if _, err := queries.ParseWait(c[0], c[1]); !errors.As(err, &invalid) || invalid.Field != c[2] {
			t.Errorf("index %q, wait %q: %v", c[0], c[1], err)
		}
	}
	for _, wait := range []string{"", "1s"} { // the first request of a client that polls has no index
		if w, err := queries.ParseWait("", wait); w != nil || err != nil {
			t.Errorf("wait %q without an index is %+v, %v", wait, w, err)
		}
	}
}

// A query after one's own write waits for it, and says so when that takes too long.
func TestAQueryAfterOnesOwnWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		time.AfterFunc(time.Second, func() { r.register(key("web", "a"), "") })
		if err := r.After(t.Context(), wire.Position{Number: 1}); err != nil {
			t.Error(err)
		}
		began := time.Now()
		var behind queries.Behind
		if err := r.After(t.Context(), wire.Position{Number: 2}); !errors.As(err, &behind) || behind.At != 1 || behind.Wanted != 2 || time.Since(began) != behind.Waited {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := r.After(t.Context(), wire.Position{Number: 1, Timeline: "1f"}); !errors.As(err, new(eventstore.OtherTimeline)) {
			t.Errorf("a position of another timeline: %v", err)
		}
	})
}
