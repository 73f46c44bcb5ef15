package queries_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// A follower of the log whom most events do not concern hears of the stream as often as one of a quiet log: it would take the
// connection for dead otherwise.
func TestAFollowerOfTheLogHearsSomethingWhileOthersAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		selection queries.Selection
		span      queries.Span
	}{
		"what it may not see":       {selection: queries.Selection{Visible: func(key domain.ServiceKey) bool { return key.Service == "web" }}},
		"before its time":           {span: queries.Span{From: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"what it has not asked for": {selection: queries.Selection{Service: "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t)
				log, err := r.FollowEvents(t.Context(), c.selection, c.span)
				if err != nil {
					t.Fatal(err)
				}
				defer log.Close()
				busy := time.NewTicker(time.Second)
				defer busy.Stop()
				done := make(chan struct{})
				defer func() { <-done }()
				over := make(chan struct{})
				defer close(over)
				go func() {
					defer close(done)
					for {
						select {
						case <-over:
							return
						case <-busy.C:
							r.append(eventstore.LifecycleStream(key("cart", "a")), domain.InstanceRegistered{Epoch: 1, Details: details("z0")})
						}
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				for i := range 3 {
					began := time.Now()
					update, err := log.Next(ctx)
					if _, is := update.(queries.KeepAlive); !is || err != nil || time.Since(began) > 16*time.Second {
						t.Fatalf("update %d after %v is %+v, %v", i, time.Since(began), update, err)
					}
				}
			})
		})
	}
}
