package queries_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// inAnHour says that the next look at any check is an hour from now.
type inAnHour struct{ at time.Time }

func (p inAnHour) Look(domain.Key, string) (time.Time, string) { return p.at, "n1" }

// After a step of the wall clock, when a lease ends, when a check lapses, and since when the registry does not listen are told in the
// time in which events are recorded now. This process measures them by its monotonic clock.
func TestMomentsAreToldInTheTimeOfTheLog(t *testing.T) {
	for _, step := range []time.Duration{-5 * time.Hour, 0, 5 * time.Hour} {
		r := start(t)
		r.Now = func() time.Time { return time.Now().Add(step) }
		k := key("checkout", "a")
		d := details("z")
		d.Checks = []domain.Check{
			{ID: "worker", Kind: domain.CheckTTL, TTL: domain.Duration(time.Hour)}, {ID: "web", Kind: domain.CheckTCP, Target: "10.0.0.5:80"},
		}
		for i := range d.Checks {
			d.Checks[i] = d.Checks[i].Normalize()
		}
		r.apply(r.append(eventstore.LifecycleStream(k), domain.InstanceRegistered{Epoch: 1, Details: d}))
		r.Listening = leases.NewListening(r.Live.Leases())
		r.Listening.Start(time.Now().Add(-time.Hour))
		r.Listening.Sample(time.Now(), domain.DeafDiskFull)
		held := time.Now().Add(-time.Hour)
		r.Node.Probes = func() *wire.ProbeStatus { return &wire.ProbeStatus{HeldSince: &held} }
		r.Service.Probes = inAnHour{time.Now().Add(time.Hour)}
		within := func(what string, at *time.Time, of time.Duration) {
			t.Helper()
			if at == nil {
				t.Errorf("%s is not told", what)
			} else if in := at.Sub(r.Now()) - of; in.Abs() > 5*time.Minute {
				t.Errorf("after a step of %s, %s is told as %s, wrong by %s", step, what, at, in)
			}
		}
		c, err := r.Catalog(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		shown, err := c.Instance(context.Background(), k)
		if err != nil {
			t.Fatal(err)
		}
		within("the end of a lease", shown.LeaseExpiresAt, time.Hour)
		for range 100 {
			again, err := c.Instance(context.Background(), k)
			if err != nil || !again.LeaseExpiresAt.Equal(*shown.LeaseExpiresAt) {
				t.Fatalf("a lease ends at %s, and asked again at %s, %v", shown.LeaseExpiresAt, again.LeaseExpiresAt, err)
			}
		}
		for _, check := range shown.Checks {
			switch check.ID {
			case "worker":
				within("the lapse of a check", check.LapsesAt, time.Hour)
			case "web":
				within("the next look", check.NextLook, time.Hour)
			}
		}
		form, err := c.Instances(context.Background(), k.ServiceKey(), queries.InstanceFilter{}, true)
		var list wire.InstanceList
		if err == nil {
			err = json.Unmarshal(form.Bytes, &list)
		}
		if err != nil || len(list.Instances) != 1 {
			t.Fatalf("%v, %+v", err, list)
		}
		within("the end of a lease in a list", list.Instances[0].LeaseExpiresAt, time.Hour)
		r.withHistory()()
		status := r.Status(context.Background())
		within("since when the registry does not listen", status.Listening.Since, -time.Hour)
		within("since when results of probes are held", status.Probes.HeldSince, -time.Hour)
	}
}
