package queries

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
)

func TestFewLargeAnswersAreMadeAtOnceAndEqualOnesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w work
		var running, most, total atomic.Int64
		var asking sync.WaitGroup
		for i := range 300 {
			asking.Go(func() {
				name := fmt.Sprint("zone ", i%10)
				got, err := w.do(t.Context(), name, func() made {
					total.Add(1)
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Millisecond)
					running.Add(-1)
					return made{form: encoded.Form{ETag: name}, at: eventstore.Position(7)}
				})
				if err != nil || got.form.ETag != name || got.at != 7 {
					t.Errorf("%s is answered with %v, %v", name, got, err)
				}
			})
		}
		asking.Wait()
		if limit := int64(max(1, runtime.GOMAXPROCS(0)/2)); most.Load() > limit {
			t.Errorf("%d answers were made at once, not %d", most.Load(), limit)
		}
		if total.Load() > 20 { // whoever comes while an answer is being made needs a newer one
			t.Errorf("10 answers for 300 were made %d times", total.Load())
		}
	})
}

// An answer begins when its turn comes, so it has what those who joined have written before.
func TestAnAnswerThatWaitsIsOfWhenItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w work
		var written atomic.Int64
		hold := make(chan struct{})
		for i := range max(1, runtime.GOMAXPROCS(0)/2) {
			go w.do(t.Context(), fmt.Sprint("other ", i), func() made { <-hold; return made{} })
		}
		synctest.Wait()
		ask := func(out chan<- eventstore.Position) {
			got, _ := w.do(t.Context(), "list", func() made { return made{at: eventstore.Position(written.Load())} })
			out <- got.at
		}
		answers := make(chan eventstore.Position, 2)
		go ask(answers)
		synctest.Wait()
		written.Store(1)
		go ask(answers)
		synctest.Wait()
		close(hold)
		if one, other := <-answers, <-answers; one != 1 || other != 1 {
			t.Errorf("answered as of %d and %d", one, other)
		}
	})
}

func TestAnswersThatWaitTooLongOrAreTooManyAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w work
		hold := make(chan struct{})
		turns := max(1, runtime.GOMAXPROCS(0)/2)
		var refused, left, begun atomic.Int64
		ask := func(ctx context.Context, name string) {
			_, err := w.do(ctx, name, func() made { begun.Add(1); <-hold; return made{} })
			switch {
			case errors.As(err, new(Overloaded)):
				refused.Add(1)
			case errors.Is(err, context.Canceled):
				left.Add(1)
			}
		}
		for i := range turns {
			go ask(t.Context(), fmt.Sprint("busy ", i))
		}
		synctest.Wait()
		leaving, leave := context.WithCancel(t.Context())
		for i := range heavyWaiting + 10 {
			ctx := t.Context()
			if i < 5 {
				ctx = leaving
			}
			go ask(ctx, fmt.Sprint("waits ", i))
			if i < 5 { // these are not among those that are refused at once
				synctest.Wait()
			}
		}
		synctest.Wait()
		if refused.Load() != 10 {
			t.Errorf("%d were refused at once, not 10", refused.Load())
		}
		leave()
		synctest.Wait()
		time.Sleep(heavyTimeout + time.Second)
		synctest.Wait()
		// Those that are being made are waited for no longer either.
		if got, want := refused.Load(), int64(10+heavyWaiting-5+turns); got != want || left.Load() != 5 {
			t.Errorf("%d were refused and %d left, want %d and 5", got, left.Load(), want)
		}
		close(hold)
		synctest.Wait()
		if begun.Load() != int64(turns) {
			t.Errorf("%d answers were made, %d of them for nobody", begun.Load(), begun.Load()-int64(turns))
		}
	})
}

func TestAPanicWhileAnAnswerIsMadeIsAnError(t *testing.T) {
	var w work
	if _, err := w.do(t.Context(), "list", func() made { panic("a bug") }); err == nil {
		t.Error("a panic is taken for an answer")
	}
}
