package feed_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// Of many watchers those that can be told are told, each once for a change, and get a token only if they ask for one.
func TestManyWatchersAreToldWithoutBeingWoken(t *testing.T) {
	for name, watchers := range map[string]int{"few": 10, "many": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := feed.New(catalog.New(), 0, 16)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { f.Run(ctx); close(ended) }()
				web := domain.ServiceKey{Namespace: "default", Service: "web"}
				told := make([]atomic.Int32, watchers)
				tokens := make([]chan struct{}, watchers)
				for i := range tokens {
					var stop func()
					tell := func() bool { told[i].Add(1); return i%3 == 0 }
					if i%3 == 2 {
						tell = nil
					}
					tokens[i], stop = f.WatchBy(tell, web)
					defer stop()
				}
				f.Wake(web)
				synctest.Wait()
				for i := range tokens {
					wantTold, wantToken := int32(0), 1
					if watchers == 100 {
						wantTold, wantToken = []int32{1, 1, 0}[i%3], []int{0, 1, 1}[i%3]
					}
					if told[i].Load() != wantTold || len(tokens[i]) != wantToken {
						t.Errorf("watcher %d was told %d times, want %d, and has %d tokens, want %d", i, told[i].Load(), wantTold, len(tokens[i]), wantToken)
					}
				}
				stop()
				<-ended
			})
		})
	}
}
