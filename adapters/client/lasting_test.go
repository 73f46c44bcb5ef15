package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// An instance without a lease is kept, too: it comes back when somebody deregisters it.
func TestAnInstanceWithoutALeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := live(t)
		wanted := at(checkout)
		wanted.Details.TTL = domain.NoTTL
		k := kept(t, t.Context(), r.Client(client.Options{}), wanted)
		r.Asked()
		time.Sleep(time.Hour)
		if asked := r.Asked(); len(asked) < 300 || len(asked) > 450 || k.State().Err != nil || r.Instance(checkout).Epoch != 1 {
			t.Errorf("asked %d times in an hour; %+v", len(asked), k.State())
		}
		if err := r.Do(domain.DeregisterInstance{Key: checkout, Owner: r.Instance(checkout).Owner}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if i := r.Instance(checkout); !i.Live() || i.Epoch != 2 || i.Details.TTL != domain.NoTTL {
			t.Errorf("after a deregistration: %+v", i)
		}
		k.End("")
		<-k.Done()
		if s := k.State(); s.Err != nil || r.Instance(checkout).Live() {
			t.Errorf("after the end: %+v", s)
		}
	})
}
