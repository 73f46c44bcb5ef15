package queries_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// within are the ids of a service's instances that were silent for at most so many ttls.
func (r *rig) within(ttls float64) string {
	r.t.Helper()
	c, err := r.Catalog(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	var list wire.InstanceList
	form, err := c.Instances(r.t.Context(), key("web", "").ServiceKey(), queries.InstanceFilter{MaxSilence: ttls}, false)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(form.Bytes, &list); err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, i := range list.Instances {
		ids = append(ids, i.ID)
	}
	return strings.Join(ids, " ")
}

// measured runs what finds out that the catalog is level with the store.
func (r *rig) measured() {
	ticks := time.NewTicker(time.Second)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Live.Measure(r.Stopping, ticks.C) // it ends with the rig
	}()
	r.t.Cleanup(func() { r.stop(); <-ended; ticks.Stop() })
}

// Silence counts while the instance could have been heard, and no longer than that.
func TestSilenceIsWhatTheRegistryCouldHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.measured()
		r.Listening = leases.NewListening(r.Live.Leases())
		r.Listening.Start(time.Now())
		for id, ttl := range map[string]time.Duration{"a": 10 * time.Second, "b": time.Minute} {
			d := details("z")
			d.TTL = domain.Duration(ttl)
			r.apply(r.append(eventstore.LifecycleStream(key("web", id)), domain.InstanceRegistered{Epoch: 1, Details: d}))
		}
		listen := func(d time.Duration, state domain.Deafness) {
			for range d / leases.Tick {
				time.Sleep(leases.Tick)
				r.Listening.Sample(time.Now(), state)
			}
		}
		want := func(when string, ttls float64, ids string) {
			t.Helper()
			if got := r.within(ttls); got != ids {
				t.Errorf("%s, within %v ttls, there are %q, want %q", when, ttls, got, ids)
			}
		}
		listen(25*time.Second, "")
		want("after 25 s", 1, "b")
		want("after 25 s", 2, "b")
		want("after 25 s", 2.6, "a b")
		r.apply(r.append(eventstore.HeartbeatStream(key("web", "a")), domain.HeartbeatReceived{Epoch: 1}))
		want("after a heartbeat", 1, "a b")
		listen(8*time.Second, "")
		listen(time.Hour, domain.DeafDiskFull)
		want("while nobody could be heard", 1, "a b")
		listen(9*time.Second, "")
		want("after that", 1, "a b")
		listen(3*time.Second, "")
		want("when it was over for a ttl", 1, "b")
	})
}

func TestANodeThatIsBehindTakesNobodyForSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t) // nothing measures whether it is level with the store
		d := details("z")
		d.TTL = domain.Duration(time.Second)
		r.apply(r.append(eventstore.LifecycleStream(key("web", "a")), domain.InstanceRegistered{Epoch: 1, Details: d}))
		time.Sleep(2 * time.Second)
		if got := r.within(1); got != "" {
			t.Errorf("a lag that means nothing: there are %s", got)
		}
		time.Sleep(time.Minute)
		if got := r.within(1); got != "a" {
			t.Errorf("behind the store there are %q", got)
		}
	})
}
